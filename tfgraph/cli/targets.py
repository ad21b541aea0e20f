"""`tfgraph targets`: what can be exported for, and what runs here."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stdout, table

_DESCRIPTIONS = {
    "cpu": "ONNX Runtime's CPU execution provider",
    "onnx": "standard operators only, for any runtime",
    "openvino": "OpenVINO on a CPU, in float32 or bfloat16",
}


def targets_command(as_json: JsonOption = False) -> None:
    """List the targets of an export, and the execution providers that work on this machine."""
    from tfgraph.targets import get_target, target_names

    targets = [get_target(name) for name in target_names()]
    described: list[dict[str, Any]] = [
        {
            "name": target.name,
            "description": _DESCRIPTIONS.get(target.name, ""),
            "opset": target.opset,
            "domains": sorted(target.domains),
        }
        for target in targets
    ]
    providers = _providers()
    if as_json:
        print_json({"targets": described, "providers": providers})
        return
    console = stdout()
    rows = [
        [each["name"], each["description"], ", ".join(each["domains"]) or "none", str(each["opset"])]
        for each in described
    ]
    console.print(table("Targets", ["Target", "Made for", "Other domains", "Opset"], rows, left=3))
    rows = [[each["name"], "yes" if each["usable"] else "no", each["reason"] or ""] for each in providers]
    console.print(table("Execution providers of ONNX Runtime", ["Provider", "Works here", "Why not"], rows, left=3))
    console.print(Text("Export for a target with: tfgraph export CHECKPOINT OUT --target NAME"))


def _providers() -> list[dict[str, Any]]:
    """What this ONNX Runtime was built with, and whether each really works."""
    import onnxruntime

    from tfgraph.backends.onnxruntime.providers import why_unusable

    reasons = {name: why_unusable(name) for name in onnxruntime.get_available_providers()}
    return [{"name": name, "usable": reason is None, "reason": reason} for name, reason in reasons.items()]
