// One clip to the server; what becomes of it, as it happens.

/**
 * @param {File} file
 * @param {{bundle: string, transcript: (File|string|null)}} fields
 * @param {(news: object) => void} tell {uploaded: 0..1}, {position: n}, {stage: name}
 * @returns {{done: Promise<object>, abort: () => void}} done gives the result; an Error's message is for the reader
 */
export function send(file, fields, tell) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    const form = new FormData();
    if (fields.bundle) form.append("bundle", fields.bundle);
    if (fields.transcript) form.append("transcript", fields.transcript);
    form.append("clip", file, file.name);
    let read = 0;
    let last = {};
    const readLines = () => {
      if (request.status !== 200) return;
      for (let end; (end = request.responseText.indexOf("\n", read)) >= 0; read = end + 1) {
        last = JSON.parse(request.responseText.slice(read, end));
        if ("position" in last || "stage" in last) tell(last);
      }
    };
    request.upload.onprogress = (event) => event.lengthComputable && tell({ uploaded: event.loaded / event.total });
    request.onprogress = readLines;
    request.onload = () => {
      readLines();
      if (last.prediction) resolve(last);
      else reject(new Error(last.error || errorOf(request)));
    };
    request.onerror = () => reject(new Error("The server cannot be reached, or refused the clip. Is it still running?"));
    request.onabort = () => reject(new Error("taken back"));
    request.open("POST", "/api/predict");
    request.setRequestHeader("Accept", "application/x-ndjson");
    request.send(form);
  });
  return { done, abort: () => request.abort() };
}

function errorOf(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return request.status === 200 ? "The answer breaks off. Send the clip again." : `The server answered ${request.status}.`;
  }
}
