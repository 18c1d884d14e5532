"""The leaderboard: a static site built from records and published tables. It never imports torch.

read        records, evidence and curves from results/ and runs/; what is broken becomes a line, not an exception
classes     the accuracy on each class, agreement with the teacher; teacher_origins: whose weights a teacher has
boards      records as boards: one suite under one protocol, with its rows, pairs and seeds
standings   the statistics of a board: gains, ranks, what a row does not beat; power: what the board can tell at all
headline    what a board answers, in sentences; verdicts: icons and words; cost: one measure of cost a board
published   the survey's tables and the published results, matched with what kdbench measured; published_order: whether
            methods stand in the same order there
parameters  a method's parameters beside those of its paper or code
tables      a table as data, for every page alike
views       the tables of suites; seed_views: of pairs and methods, seed by seed; survey_view: that of a data set;
            stands: where a method stands
figures     Plotly figures as plain dictionaries; cost_figures: against cost; figure_parts: what all share
mathml      docstrings as prose and equations
page        what all pages share: templates, escaping; origin: where site and source live, as far as known
pages       one function a kind of page; method_pages, survey_pages, state, history (and its feed), dataset (all cells)
comparisons what the page that compares two rows needs; choosing: what the page that chooses needs
learn       a room of its own: the place to learn distillation, in two languages
card        the picture of a shared link; cite: how to cite
build       the folder: pages, data scripts, assets
serve       the folder on loopback
"""
