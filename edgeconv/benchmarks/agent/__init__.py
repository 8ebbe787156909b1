"""The device agent: measures one artefact of a bundle on the machine that it runs on.

Python 3.8 or later, the standard library, numpy and the runtime that is measured; `edgeconv.benchmarks.agent_archive`
makes one file of it, the bundle's `agent.pyz`.
"""
