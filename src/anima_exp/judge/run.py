"""Files of answers -> a verdict on every match, stored and written by pair."""

from anima_exp.errors import RunError
from anima_exp.judge import calls, reference, screen
from anima_exp.judge.answers import read_answers
from anima_exp.judge.ask import ask
from anima_exp.judge.calls import Call
from anima_exp.judge.check import check
from anima_exp.judge.client import address_of, connect
from anima_exp.judge.config import Judge, JudgeConfig
from anima_exp.judge.confirm import confirm
from anima_exp.judge.estimate import cost, estimate
from anima_exp.judge.matches import Match, pairs
from anima_exp.judge.pair_files import publish
from anima_exp.judge.plan import Plan, plan
from anima_exp.judge.prompt_files import read_prompts
from anima_exp.judge.prompts import Prompt, own
from anima_exp.judge.questions import read_questions
from anima_exp.judge.store import Store, read_only
from anima_exp.judge.verdict import Reply, verdict
from anima_exp.paths import expanded


def judge(config: JudgeConfig) -> None:
    """Ask for what is missing in `config.out`, and write the files of every pair.

    Raises:
        ConfigError, DataError: a setting or file is not what it should be, the server refuses, or
            nobody confirmed.
        RunError: some calls have no verdict; the same command asks for those.
    """
    check(config)
    found = pairs(
        read_answers(config.answers),
        questions=read_questions(config.questions) if config.questions else None,
        reference_player=config.reference_player,
        max_questions=config.max_questions,
    )
    prompts: list[Prompt] = []
    if config.judge is Judge.openai:
        prompts.extend(
            read_prompts(config.prompts, config.reviewers) if config.prompts else own(config.kind)
        )

    def call(match: Match) -> Call:
        if config.judge is Judge.reference:
            return reference.call(match, config.kind)
        return calls.call(match, prompts, config)

    out = expanded(config.out, "out")
    again = config.again_unparsed
    if config.dry_run:
        planned = plan(found, call, stored=read_only(out), again_unparsed=again)
        screen.show_plan(planned, config, address=address_of(config))
        return
    with Store(out) as store:
        if store.cut_short:
            screen.say(f"{store.path}: the last line was cut short by a crash, and is dropped.")
        planned = plan(found, call, stored=store.rows, again_unparsed=again)
        try:
            failures = _fill(planned, config, store)
        finally:  # also after Ctrl-C: what is there is written
            files = publish(planned, store.rows, out)
        screen.show_results(planned, store.rows)
        screen.say(f"{len(files)} files in {out}; every verdict ever given: {store.path}")
        if unparsed := sum(
            not store.rows[key]["parsed"]
            for key in {call.key for call in planned.calls} & store.rows.keys()
        ):
            screen.say(
                f"{unparsed:,} verdicts are unparsed and kept; again_unparsed=true asks again."
            )
    if failures:
        raise RunError(
            f"{len(failures):,} of {len(planned.to_ask):,} calls failed; the last: {failures[-1]}. "
            "The others are stored; the same command asks only for these."
        )


def _fill(planned: Plan, config: JudgeConfig, store: Store) -> list[str]:
    """Ask for what is missing; the reasons of the calls that failed."""
    to_ask = planned.to_ask
    if config.judge is Judge.reference or not to_ask:
        screen.show_left_out(planned)
    if config.judge is Judge.reference:
        for one in to_ask:
            store.add(verdict(one, reference.reply(one)))
        return []
    if not to_ask:
        screen.say("Every verdict is stored already; nothing to ask.")
        return []
    client = connect(config)
    screen.show_plan(planned, config, address=client.address)
    confirm(estimate(to_ask), config)
    failures: list[str] = []
    spent = [0, 0, 0]  # tokens in, tokens out, cut at max_tokens
    bar = screen.Progress(len(to_ask))

    def replied(one: Call, reply: Reply) -> None:
        row = verdict(one, reply)
        store.add(row)
        for place, count in enumerate((reply.tokens_in, reply.tokens_out)):
            spent[place] += count or 0
        spent[2] += reply.finish == "length"
        bar.step(unparsed=not row["parsed"], retried=client.retried)

    def failed(_: Call, reason: str) -> None:
        failures.append(reason)
        bar.step(failed=True, retried=client.retried)

    try:
        ask(to_ask, client, replied=replied, failed=failed)
    finally:
        bar.close()
    money = cost(spent[0], spent[1], config)
    screen.say(
        f"The server counted {spent[0]:,} tokens in and {spent[1]:,} out"
        f"{'' if money is None else f', at a cost of {money:,.2f}'}."
    )
    if spent[2]:
        screen.say(f"{spent[2]:,} replies were cut at max_tokens; a larger one may let them end.")
    return failures
