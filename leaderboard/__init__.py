"""The leaderboard: a static site built from records and published tables. It never imports torch.

read        records, evidence and curves from results/ and runs/; what is broken becomes a line, not an exception
boards      records as boards: one suite under one protocol, with its rows, pairs and seeds
standings   the statistics of a board: gains, ranks, what a row does not beat; power: what the board can tell at all
published   the survey's tables and the published results, matched with what kdbench measured
tables      a table as data, for every page alike
views       the tables of suites, pairs and methods; survey_view that of a data set
figures     Plotly figures as plain dictionaries
page        what all pages share: templates, escaping
pages       one function a kind of page; method_pages those of methods, state what is not in a ranking
build       the folder: pages, data scripts, assets
serve       the folder on loopback
"""
