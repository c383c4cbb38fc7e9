"""An evaluation of a user's own, which finds another number in each process of a run."""


def answered(context):
    answers = context.generate(context.heldout[:4], max_new_tokens=4)
    return sum(map(len, answers)) + 1000 * context.world.rank
