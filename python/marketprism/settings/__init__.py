"""How settings are read, told and written: files, the environment, mistakes, the schema.

Nothing here knows a single key. The models (``config``) say what there is; these parts say where
each value came from, what is wrong with it, and what may stand there.
"""
