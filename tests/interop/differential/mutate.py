"""A bundle's files, with one mutation in the step that is asked for."""
from differential import mutate_facts, mutate_index  # noqa: F401: the second registers its mutations
from differential.encode import files_of, records_of, table_of
from differential.mutation import STEPS


def mutated(rng, facts, step):
    """Files, by way of every step; at `step` (or nowhere) one mutation, and the sentence that says what it did."""
    said = None

    def change(now, thing):
        nonlocal said
        while said is None and now == step:
            function = rng.choice(STEPS[step])
            about = function(rng, thing) if now != "files" else function(rng, thing, facts)
            said = about and f"{function.__name__}: {about}"
        return thing

    if step == "facts" and not facts.entries:
        said = f"header: {mutate_facts.header(rng, facts)}"
    change("facts", facts)
    if step == "records" and facts.header.endianness:  # the header may lose its byte order
        facts.doubtful |= facts.tensors.keys()
    records = change("records", records_of(facts))
    table = change("table", table_of(records, **facts.table))
    return change("files", files_of(facts, table)), said
