"""A few hundred of the mutations that the benchmark makes by the ten thousand, and whether it would notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import hostile_files
from benchmarks.hostile_files import Archive, certificates, check, checkpoints, forged, judged, policies, refuted, run
from ctrl.certify.files import verification
from systems import Task

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Task, dict[str, Any]]]:
    return certificates(tmp_path_factory.mktemp("proved"))


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("certificate", 15),
        pytest.param("certificate", 50, marks=pytest.mark.slow),
        ("policy", 100),
        ("checkpoint", 25),
        pytest.param("checkpoint", 50, marks=pytest.mark.slow),
    ],
)
def test_no_mutation_of_a_file_does_harm(kind: str, count: int) -> None:
    found = run(count, seed=1, only=(kind,))
    assert found["faults"] == []
    assert found["slowest_s"] < hostile_files.SLOW
    answers = found["answers"]
    assert sum(answers.values()) == count
    passed = answers.get(f"{kind}: shown", 0) + answers.get(f"{kind}: read", 0)
    assert 0.01 * count < passed < 0.5 * count, "most mutations do something, and not all are refused at the door"


def without(law: dict[str, Any]) -> dict[str, Any]:
    """A law that does nothing, of the same form."""
    match law["kind"]:
        case "saturated linear":
            return {**law, "K": [[0.0 * k for k in row] for row in law["K"]]}
        case "network":
            *layers, last = law["weights"]
            return {
                **law,
                "weights": [*layers, [[0.0 * w for w in row] for row in last]],
                "biases": [law["biases"][0], [0.0]],
            }
        case "lattice":
            return {
                **law,
                "inputs": [{**f, "A": [[0.0, 0.0]] * len(f["A"]), "b": [0.0] * len(f["b"])} for f in law["inputs"]],
            }
    entry = {
        **law["program"],
        "instructions": [["input", 0, 0, 0], ["mul", "0x0.0000000000001p-1022", 0]],
        "entries": [[1]],
    }
    return {**law, "program": entry}


@pytest.mark.slow
def test_the_judge_knows_false_claims_of_every_kind(
    proved: list[tuple[Task, dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verifier that believes every proof it reads would show that a pendulum stands without a controller."""
    path, kinds = tmp_path / "file", set()

    def believes(claim: Any, proof: Any, *rest: Any) -> Any:
        return True, "", proof.low[None], proof.high[None]

    for task, content in proved:
        path.write_text(json.dumps(content))
        assert check(path, task) == ("shown", "")
        output = f"PROVED: {content['claim']}\n"
        assert refuted(content, task, "PROVED: something else\n") == "another sentence was printed"
        if task.name == "pendulum":
            false = {**content, "law": without(content["law"])}
            assert refuted(false, task, output).startswith("V rises")
            kinds.add(content["law"]["kind"])
            path.write_text(json.dumps(forged(false, task)))
            with monkeypatch.context() as patched:
                patched.setattr(verification, "holds_again", believes)
                answer, why = judged(lambda path, task=task: check(path, task), path)
            # The audit in Arb may find it, too.
            assert answer == "not shown" or (answer == "fault" and "a false claim: V rises" in why)
    assert kinds == {"saturated linear", "network", "lattice", "expression"}


def test_a_reader_that_runs_code_or_raises_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")

    def starts(path: Path) -> Any:
        import subprocess

        subprocess.run(["true"], check=False)

    def exits(path: Path) -> Any:
        raise SystemExit(0)

    for read, what in (
        (starts, "does subprocess.Popen"),
        (exits, "SystemExit"),
        (lambda path: eval(compile("1", "a stranger's", "eval")), "does exec"),
        (lambda path: [][0], "IndexError"),
    ):
        answer, why = judged(read, path)
        assert answer == "fault"
        assert what in why


def test_archives_are_taken_apart_and_put_together(tmp_path: Path) -> None:
    for data in (*policies(tmp_path), *(data for data, _ in checkpoints(tmp_path))):
        archive = Archive.of(data)
        text = json.dumps(archive.content, ensure_ascii=False).encode()
        again = Archive.of(archive.packed(text))
        assert (again.content, again.tensors) == (archive.content, archive.tensors)
