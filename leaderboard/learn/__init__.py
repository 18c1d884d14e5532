"""A place to learn distillation: pages in two languages, whose numbers come from records and stored logits.

taught        the logits of `digits`' teachers and students that ship with the site, and who made them
soft_targets  what a teacher knows; matching: from soft targets to logits; weights: what each loss weight does
field         the map of the field; taxonomy: the survey's rows in readable words, with what is here of them
gap           students beside their teachers: compression, the capacity gap, who surpasses whom, the survey's gains
pictures      a method's picture; drawing: what pictures are made of; code: the lines of its loss
topics        pages and topics, each with its place; words: the Chinese of what all pages share
pages         one function a page

No module imports torch. Prose is in `templates/learn`, a folder a language.
"""
