"""What bench/gpu/check writes: everything as JSON, and tables for people."""
import json


class Short(Exception):
    """A stage that ran, and found too little."""

    def __init__(self, why, found):
        super().__init__(why)
        self.found = found


def write(result, folder):
    name = f"gpu_{result['date'][:10]}"
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(tables(result))


def title(result):
    where = ", ".join(result["gpu"]) if result["gpu"] else "no GPU was there"
    if result["device"] == "emulated":
        where = "an emulated device: no figure says anything of a GPU"
    return (f"# bench/gpu/check, {result['date']}\n\n{where}; {result['cores']} cores, "
            f"{result['machine']}{', --quick' if result['quick'] else ''}.\n")


def tables(result):
    out = [title(result), "| stage | verdict | seconds | planned | |", "|---|---|---|---|---|"]
    for name, stage in result["stages"].items():
        why = stage["why"].splitlines()[0] if stage["why"] else ""
        out.append(f"| {name} | {stage['verdict']} | {stage['seconds']} | {stage['planned']} | "
                   f"{why[:160]} |")
    for name, stage in result["stages"].items():
        if "brood" in stage:
            out += ["", *speed_table(name, stage)]
    for name, value in result["stages"].get("probe", {}).get("probe", {}).items():
        shown = f"{value:,.4g}" if isinstance(value, float) else value
        out += [f"- {name}: {shown}"] if name != "name" else ["", f"Probe of {value}:", ""]
    out += kernel_tables(result["stages"].get("kernels", {}))
    sweep = result["stages"].get("sweep", {})
    if "epochs" in sweep:
        reached = ", ".join(f"{goal} after {'never' if s is None else f'{s} s'}"
                            for goal, s in sweep["seconds_to_accuracy"].items())
        out += ["", f"Sweep on {sweep['devices']}: {sweep['trials']}, best validation accuracy "
                f"{sweep['best_val_accuracy']:.4f} (trial {sweep['best_trial']}), "
                f"{sweep['sweep_seconds']} s, {sweep['trials_per_hour']} trials an hour; {reached}."]
    return "\n".join(out) + "\n"


def kernel_tables(stage):
    """Where a step's time goes, and the convolutions beside cuDNN's."""
    for step in stage.get("steps", []):
        total = sum(launch["us"] for launch in step["launches"])
        yield from ["", f"## Kernels of {step['net']}: {step['trials']} trials, {step['step_us']:,.0f} us "
                    f"a step, {total:,.0f} us one by one", "", "| us | share | launch |", "|---|---|---|"]
        for launch in sorted(step["launches"], key=lambda at: -at["us"])[:12]:
            yield f"| {launch['us']:.1f} | {launch['us'] / total:.0%} | {launch['what']} |"
    if not stage.get("layers"):
        return
    yield from ["", "## Convolutions (kernel-inputs-filters-size-stride): us a trial, brood / cuDNN", "",
                "| layer | forward | input gradient | weight gradient | farthest result |",
                "|---|---|---|---|---|"]
    for layer in stage["layers"]:
        cells = []
        for kind in ["forward", "input_gradient", "weight_gradient"]:
            ours, theirs = layer["brood_us"].get(kind), layer["cudnn_us"].get(kind)
            cells.append("" if ours is None else f"{ours:.1f} / " +
                         (f"{theirs:.1f}" if theirs else "none"))
        most = max(layer["differences"], key=layer["differences"].get)
        yield (f"| {layer['layer']} | {' | '.join(cells)} | {layer['differences'][most]} of what is "
               f"allowed, {most} |")


def speed_table(name, stage):
    yield f"## {name}: batch {stage['batch']}, {stage['precision']}"
    yield ""
    yield "| trials fused | images/s | ms a step | us a launch | MiB a trial |"
    yield "|---|---|---|---|---|"
    for at in stage["brood"]:
        rate = at["images_per_second"]
        milliseconds = 1e3 * at["trials"] * stage["batch"] / rate
        yield (f"| {at['trials']} | {rate:,.0f} | {milliseconds:.3f} | "
               f"{1e3 * milliseconds / at['launches']:.2f} | {at['trial_bytes'] / 2**20:.1f} |")
    yield ""
    if "overlap" in stage:
        yield "Launches that overlap: " + ", ".join(
            f"{rate:,.0f} images/s with {trials}" for trials, rate in stage["overlap"].items()) + "."
        yield ""
    yield (f"The trainer chooses {stage['chosen']['trials']} by itself: "
           f"{stage['chosen']['images_per_second']:,.0f} images/s.")
    yield ""
    if "torch_skipped" in stage:
        yield f"PyTorch: SKIPPED, {stage['torch_skipped']}."
        return
    yield f"| PyTorch {stage['torch_version']} | images/s |"
    yield "|---|---|"
    for mode, rate in stage["torch"].items():
        yield f"| {mode} | {rate:,.0f} |"
    for mode, why in stage["torch_reasons"].items():
        yield f"| {mode} | none: {why[:120]} |"
    if "times_eager" not in stage:
        return
    wanted = stage.get("targets")
    yield ""
    yield (f"brood with {stage['best_trials']} trials: {stage['times_eager']:.2f} times eager"
           + (f" (wanted {wanted[0]})" if wanted else "")
           + f", {stage['times_best']:.2f} times the best, {stage['torch_best']}"
           + (f" (wanted {wanted[1]})" if wanted else "")
           + (f", {stage['times_processes']:.2f} times several processes"
              if "times_processes" in stage else "") + ".")
