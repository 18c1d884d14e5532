"""From a plan to records: cells, the teachers that they read, the engines that train them, their mirror in MLflow.

May import training, data, networks, records and what lies below.
"""
