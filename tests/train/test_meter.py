"""Meters report measured figures, and omit figures that cannot be measured."""

from __future__ import annotations

import torch

from bessemer.model import hardware
from bessemer.train import meter
from bessemer.train.energy import EnergyMeter
from bessemer.train.meter import Meter
from bessemer.train.workers import Workers

CPU = torch.device("cpu")


def clock(monkeypatch, *times):
    ticking = iter(times)
    monkeypatch.setattr(meter.time, "perf_counter", lambda: next(ticking))


def test_speed_waiting_and_utilisation(monkeypatch):
    clock(monkeypatch, 0.0, 10.0, 11.0, 14.0, 20.0)  # created, step starts, batch arrives, step ends, read
    found = Meter(Workers(0, 2, CPU), flops_per_token=10**9, peak_flops=1e12)
    found.start()
    found.waited()
    found.stop(8000)
    found.saved(2.0)
    figures = found.read()
    assert figures["throughput/tokens_per_second"] == 2000
    assert figures["throughput/teraflops"] == 2.0
    assert figures["throughput/model_flops_utilisation"] == 1.0  # 2 teraflops on two workers with a peak of 1 each
    assert figures["throughput/data_wait_ratio"] == 0.25
    assert figures["throughput/checkpoint_ratio"] == 0.1
    assert figures["memory/peak_gib"] > 0.01


def test_unknown_hardware_has_no_utilisation():
    assert hardware.peak_flops(CPU, torch.bfloat16) is None
    found = Meter(Workers(0, 1, CPU), 1, None)
    found.start()
    found.stop(1)
    assert "throughput/model_flops_utilisation" not in found.read()


def test_a_gpu_is_not_taken_for_one_with_a_shorter_name():
    assert hardware.peak_of(["NVIDIA", "H200"]) == 989e12
    assert hardware.peak_of(["NVIDIA", "H100", "PCIe"]) == 756e12
    assert hardware.peak_of(["NVIDIA", "H100", "80GB", "HBM3"]) == 989e12
    assert hardware.peak_of(["NVIDIA", "A100", "SXM4", "80GB"]) == 312e12
    assert hardware.peak_of(["NVIDIA", "A10G"]) == 70e12
    assert hardware.peak_of(["NVIDIA", "A1000", "Laptop", "GPU"]) is None
    assert hardware.peak_of(["Quadro", "K2000"]) is None


def test_energy_of_all_packages_is_added_up_and_may_wrap(tmp_path):
    def count(package: int, joules: float) -> None:
        folder = tmp_path / f"intel-rapl:{package}"
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(str(round(joules * 1e6)))
        (folder / "max_energy_range_uj").write_text(str(10**9))  # 1000 J

    count(0, 100)
    count(1, 990)
    found = EnergyMeter(CPU, tmp_path)
    count(0, 460)
    count(1, 350)  # the counter wrapped
    assert found.kilowatt_hours() == (360 + 360) / 3.6e6
    assert EnergyMeter(CPU, tmp_path / "nowhere").kilowatt_hours() is None
