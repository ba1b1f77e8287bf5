"""Every registered task keeps the contract of Task."""

import pytest

from ouvroir.testing import check_task, registered


@pytest.mark.parametrize("name", registered())
def test_task_keeps_its_contract(name, tmp_path, monkeypatch):
    monkeypatch.setenv("OUVROIR_HOME", str(tmp_path / "home"))
    check_task(name, tmp_path / "work")
