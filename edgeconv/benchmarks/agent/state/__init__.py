"""The state of the device: clocks, temperatures, throttling, power, load.  What the system does not tell stays absent.

Part of the device agent: Python 3.8, standard library only.  Each kind of board is one module with a reader; `look`
puts together what the readers that fit here say.
"""

from edgeconv.benchmarks.agent.state.look import Look, StateReader
from edgeconv.benchmarks.agent.state.reading import Reading
from edgeconv.benchmarks.agent.state.sources import Sources, system_root

__all__ = ["Look", "Reading", "Sources", "StateReader", "system_root"]
