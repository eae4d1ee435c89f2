"""The two networks of Subramaniam et al. 2016 in PyTorch, for training and as the reference of the ONNX graphs.

Source: "Bi-modal First Impressions Recognition using Temporally Ordered Deep Audio and Stochastic Visual
Features", ECCV 2016 workshops, section 3; the authors' definitions in ``src/2_model_LSTMSpatial.lua``,
``src/2_model_multimodal6blocks.lua`` and ``src/LSTM.lua`` (github.com/InnovArul/first-impressions, Apache-2.0).

Both take a batch of ``pictures``, float32 (batch, 6, 3, 112, 112), RGB in [0, 1], one aligned face from each of
six equal parts of a clip, and ``sound``, float32 (batch, 6, 68), and return float32 (batch, 5) in (0, 1) in the
order of `thinslice.traits.TRAITS`.

Deviations: the authors' outputs are extraversion, agreeableness, conscientiousness, neuroticism, openness.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinslice.systems.bimodal.torch7_weights import BimodalWeights

NUM_TRAITS = 5
DROPOUT = 0.2


class SequenceLSTM(nn.Module):
    """An LSTM with one weight matrix and one bias, as ``src/LSTM.lua`` has it.

    The rows of ``weight`` are input then hidden units; its columns input, forget and output gate, then the
    candidate. torch's own LSTM has a second bias, which would train at twice the rate.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.weight = nn.Parameter(torch.empty(input_size + hidden_size, 4 * hidden_size))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_size))
        nn.init.normal_(self.weight, std=(input_size + hidden_size) ** -0.5)
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] = 1.0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the hidden states (batch, steps, hidden) of inputs (batch, steps, input), from a zero state."""
        hidden = inputs.new_zeros(inputs.shape[0], self.hidden_size)
        cell = hidden
        states = []
        for step in inputs.unbind(1):
            gates = torch.cat([step, hidden], 1) @ self.weight + self.bias
            enter, forget, leave, candidate = gates.chunk(4, 1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            states.append(hidden)
        return torch.stack(states, 1)


class BimodalLSTM(nn.Module):
    """A convolutional network on each face, a linear map of each part's sound, and an LSTM over the six parts.

    316,549 parameters. The six outputs are averaged, as the authors do at test.
    """

    def __init__(self, num_outputs: int = NUM_TRAITS) -> None:
        super().__init__()
        self.sound = nn.Linear(68, 32)
        self.conv1 = nn.Conv2d(3, 16, 5)
        self.conv2 = nn.Conv2d(16, 16, 7)
        self.conv3 = nn.Conv2d(16, 16, 9)
        self.picture = nn.Linear(1024, 128)
        self.lstm = SequenceLSTM(160, 128)
        self.traits = nn.Linear(128, num_outputs)
        self.dropout = nn.Dropout(DROPOUT)

    def forward_steps(self, pictures: Tensor, sound: Tensor) -> Tensor:
        """Return the scores after each of the six parts, (batch, 6, 5); the training loss is on all of them."""
        seen = pictures.flatten(0, 1)
        for convolution in (self.conv1, self.conv2, self.conv3):
            seen = F.max_pool2d(F.relu(convolution(seen)), 2)
        seen = F.relu(self.picture(seen.flatten(1))).unflatten(0, pictures.shape[:2])
        joined = self.dropout(torch.cat([self.sound(sound), seen], 2))
        return self.traits(self.dropout(self.lstm(joined))).sigmoid()

    def forward(self, pictures: Tensor, sound: Tensor) -> Tensor:
        """Return the scores, (batch, 5)."""
        return self.forward_steps(pictures, sound).mean(1)


class Bimodal3DCNN(nn.Module):
    """3-D convolutions over the six faces and a linear map of the whole sound, joined by two linear layers.

    167,138 parameters.
    """

    def __init__(self, num_outputs: int = NUM_TRAITS) -> None:
        super().__init__()
        self.sound = nn.Linear(408, 100)
        self.conv1 = nn.Conv3d(3, 16, (3, 5, 5))
        self.conv2 = nn.Conv3d(16, 16, (2, 5, 5))
        self.conv3 = nn.Conv3d(16, 1, (1, 5, 5))
        self.joint = nn.Linear(541, 200)
        self.traits = nn.Linear(200, num_outputs)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, pictures: Tensor, sound: Tensor) -> Tensor:
        """Return the scores, (batch, 5)."""
        seen = F.max_pool3d(F.relu(self.conv1(pictures.transpose(1, 2))), 2)
        seen = F.max_pool3d(F.relu(self.conv2(seen)), (1, 2, 2))
        seen = self.conv3(seen).flatten(1)
        heard = F.relu(self.sound(sound.flatten(1)))
        joined = self.dropout(torch.cat([heard, seen], 1))
        return self.traits(self.dropout(F.relu(self.joint(joined)))).sigmoid()


def build_bimodal(weights: BimodalWeights) -> BimodalLSTM | Bimodal3DCNN:
    """Return the network of a set of trained weights, in evaluation mode."""
    network = BimodalLSTM() if weights.architecture == "lstm" else Bimodal3DCNN()
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.arrays.items()})
    return network.eval()
