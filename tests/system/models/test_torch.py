"""A module of PyTorch as a model, where PyTorch is installed: scripts/models-check has it."""

import numpy as np
import pytest
from tests.unit.models.test_estimator import answers, fit, table
from tests.unit.models.test_function import ONE

from headrace import Function
from headrace.models import pickles
from headrace.registry.artefact import folder_digest


def test_a_module_of_pytorch_is_asked_for_a_matrix(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Filled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1)

        def forward(self, rows):
            return torch.sigmoid(self.norm(self.layer(torch.nan_to_num(rows))))

    digests = []
    for name in "ab":
        torch.manual_seed(3)
        fitted, encoder = fit(Function(function=Filled(), reads="matrix"), "binary", ONE)
        scores = answers(fitted, encoder, table(70))
        assert scores.shape == (70,)
        fitted.save(tmp_path / name)
        again = type(fitted).load(tmp_path / name)
        np.testing.assert_array_equal(answers(again, encoder, table(70)), scores)
        assert [part.requires_grad for part in again.function.parameters()] == [True] * 4
        digests.append(folder_digest(tmp_path / name))
    assert digests[0] == digests[1]


def test_numbers_of_pytorch_are_stored_without_their_address(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = {
        "part": torch.arange(6).reshape(2, 3)[:, 1:],
        "none": torch.zeros(0),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    kept = [pickles.pickled({name: value.clone() for name, value in tensors.items()}) for _ in range(2)]
    assert kept[0].content == kept[1].content
    pickles.save(tensors, tmp_path / "kept")
    back = pickles.load(tmp_path / "kept")
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in tensors.items())
