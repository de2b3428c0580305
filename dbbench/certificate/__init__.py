"""Does the workflow give the same bytes again: it is run, killed and compared in folders of its own.

trials    a run of the workflow in a folder: start it, find its jobs, wait for its end
equality  what must be the same of two finished runs, by kind
certify   `dbbench certify`
"""
