"""The PTX interpreter: it executes the text of `code.ptx` on NumPy, thread by thread in lockstep bundles, and reports what hardware would not.

Memory, barriers, copies and products are those of `stepwell.dialects.hopper.simulator`; reading the text is its own and knows nothing of what emitted it.
Checked beyond the simulator: registers that a product in flight may be writing, accumulators written after `wgmma.fence`, instructions for whole warps executed by
a part of one, addresses (every access lies in a buffer of the launch), waits that give up, loops that do not end. Not modelled: see the simulator; two
parts of one warp that have gone different ways share its clock.
"""

from stepwell.codegen.ptx_interpreter.launch import Argument, run_entry
from stepwell.codegen.ptx_interpreter.parser import parse
from stepwell.codegen.ptx_interpreter.syntax import Entry, Instruction, Module, PtxRefused

__all__ = ["Argument", "Entry", "Instruction", "Module", "PtxRefused", "parse", "run_entry"]
