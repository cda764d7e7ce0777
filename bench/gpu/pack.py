"""A folder with programs, the libraries they ask for and the data of bench/gpu/check: for a machine
that has a GPU but neither a compiler nor those libraries."""
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

ARCHIVE = "programs.tar.xz"
# Those of the machine it runs on, which has newer ones.
LEFT_OUT = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "ld-linux", "linux-vdso",
            "libresolv.so", "libutil.so", "libstdc++.so", "libgcc_s.so")
FASHION = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
           "t10k-labels-idx1-ubyte.gz"]
NAMES = ["brood", "gpu_gradients_test", "gpu_tensor_test", "gpu_training_test", "gpu_fused_test",
         "gpu_turns_test", "gpu_emulator_test", "gpu_speed", "gpu_faults", "gpu_kernels",
         "gpu_probe"]
PLACES = [pathlib.Path("/usr/share/datasets")]


def is_packed(folder):
    return (folder / ARCHIVE).is_file()


def environment(folder):
    """Ours are looked for first; where this machine has its driver must stay known."""
    if not is_packed(folder):
        return {}
    places = [str(folder / "programs" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return {"LD_LIBRARY_PATH": ":".join(place for place in places if place)}


def data_of(folder):
    return folder / "data" if (folder / "data").is_dir() else None


def libraries(program):
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == "=>" and words[2].startswith("/"):
            if not words[0].startswith(LEFT_OUT):
                yield pathlib.Path(words[2])


def unpack(folder):
    """The programs beside the archive, the first time."""
    if not (folder / "programs" / "brood").is_file():
        with tarfile.open(folder / ARCHIVE) as archive:
            archive.extractall(folder)


def collect(check, folder, data_dir):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "programs", ignore_errors=True)  # of an archive before this one
    with tempfile.TemporaryDirectory(prefix="brood-pack-") as made:
        programs = pathlib.Path(made) / "programs"
        (programs / "lib").mkdir(parents=True)
        for name in NAMES:
            program = check.program(name)
            shutil.copy(program, programs / name)
            subprocess.run(["strip", str(programs / name)], check=True)
            for library in libraries(program):
                shutil.copy(library, programs / "lib" / library.name)
        with tarfile.open(folder / ARCHIVE, "w:xz") as archive:
            archive.add(programs, "programs")
    for place in [data_dir] if data_dir else PLACES:
        found = place / "fashion-mnist"
        if all((found / name).is_file() for name in FASHION):
            shutil.copytree(found, folder / "data" / "fashion-mnist", dirs_exist_ok=True)
            break
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    data = "with" if data_of(folder) else "without"
    print(f"{folder}: {size / 2**20:.1f} MiB, {data} Fashion-MNIST; "
          f"then: bench/gpu/check --build {folder}")
    return 0
