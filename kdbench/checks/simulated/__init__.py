"""A GPU that is not there: its tensors say `cuda:0`, hold their values on the CPU, and keep CUDA's rules.

* Tensors of two devices in one operation raise, as they do on a GPU; so does a generator of another device.
* A wait of the host for the device is counted, and raises within `waits_forbidden` and while a graph is recorded.
* A graph records the operations without effect; its replay runs them again on the same memory.

It knows nothing of kernels: what a GPU computes otherwise, its speed and its memory are not simulated.
"""

from kdbench.checks.simulated.device import MixedDevices, SimulatedGpu, WaitsForDevice
from kdbench.checks.simulated.pretence import simulated_gpu
from kdbench.checks.simulated.tensors import GPU, OnGpu

__all__ = ["GPU", "MixedDevices", "OnGpu", "SimulatedGpu", "WaitsForDevice", "simulated_gpu"]
