"""Why a request is not served: one line for the caller, and the status that goes with it."""

from starlette.responses import JSONResponse

from thinslice.errors import ThinsliceError


class Refusal(ThinsliceError):
    """A request that is not served.

    Args:
        status: HTTP status, 400 to 499.
        message: one line that says what to do.
        retry_after_s: when to try again, where that helps.
    """

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        """Return the answer as the contract has it: `{"error": str}`."""
        headers = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        return JSONResponse({"error": str(self)}, self.status, headers)
