"""Judge every match of files of answers, store the verdicts, and write them by pair."""

from anima_exp.config.commands import Judge, JudgeConfig
from anima_exp.errors import RunError
from anima_exp.judging import calls, console
from anima_exp.judging import verdict as reference
from anima_exp.judging.ask import ask
from anima_exp.judging.calls import JudgeRequest, Plan, cost, estimate, plan
from anima_exp.judging.checks import check
from anima_exp.judging.client import address_of, connect
from anima_exp.judging.console import confirm
from anima_exp.judging.matches import Match, pairs, read_answers, read_questions
from anima_exp.judging.prompts import Prompt, own, read_prompts
from anima_exp.judging.store import Store, publish, read_only
from anima_exp.judging.verdict import Reply, verdict
from anima_exp.system.paths import expanded


def judge(config: JudgeConfig) -> None:
    """Request the verdicts that are missing in `config.out`, and write the files of every pair.

    Raises:
        ConfigError, DataError: if a setting or a file is invalid, the server rejects the calls, or
            they were not confirmed.
        RunError: if calls failed. The same command retries only those.
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

    def call(match: Match) -> JudgeRequest:
        if config.judge is Judge.reference:
            return reference.call(match, config.kind)
        return calls.call(match, prompts, config)

    out = expanded(config.out, "out")
    again = config.retry_unparsed
    if config.dry_run:
        planned = plan(found, call, stored=read_only(out), retry_unparsed=again)
        console.show_plan(planned, config, address=address_of(config))
        return
    with Store(out) as store:
        if store.cut_short:
            console.say(
                f"{store.path}: a crash left the last line incomplete, so the line was removed."
            )
        planned = plan(found, call, stored=store.rows, retry_unparsed=again)
        try:
            failures = _fill(planned, config, store)
        finally:  # also after Ctrl-C, write the verdicts so far
            files = publish(planned, store.rows, out)
        console.show_results(planned, store.rows)
        console.say(f"{len(files)} files in {out}; all verdicts: {store.path}")
        if unparsed := sum(
            not store.rows[key]["parsed"]
            for key in {call.key for call in planned.calls} & store.rows.keys()
        ):
            console.say(
                f"{unparsed:,} verdicts are stored unparsed. Give retry_unparsed=true to request "
                "them again."
            )
    if failures:
        raise RunError(
            f"{len(failures):,} of {len(planned.to_ask):,} calls failed; the last: {failures[-1]}. "
            "The other verdicts are stored. Run the same command again to retry only these calls."
        )


def _fill(planned: Plan, config: JudgeConfig, store: Store) -> list[str]:
    """Request the missing verdicts; return the reasons of the calls that failed."""
    to_ask = planned.to_ask
    if config.judge is Judge.reference or not to_ask:
        console.show_left_out(planned)
    if config.judge is Judge.reference:
        for one in to_ask:
            store.add(verdict(one, reference.reply(one)))
        return []
    if not to_ask:
        console.say("All verdicts are stored already, so no call is needed.")
        return []
    client = connect(config)
    console.show_plan(planned, config, address=client.address)
    confirm(estimate(to_ask), config)
    failures: list[str] = []
    spent = [0, 0, 0]  # input tokens, output tokens, replies truncated at max_tokens
    bar = console.Progress(len(to_ask))

    def replied(one: JudgeRequest, reply: Reply) -> None:
        row = verdict(one, reply)
        store.add(row)
        for place, count in enumerate((reply.tokens_in, reply.tokens_out)):
            spent[place] += count or 0
        spent[2] += reply.finish == "length"
        bar.step(unparsed=not row["parsed"], retried=client.retried)

    def failed(_: JudgeRequest, reason: str) -> None:
        failures.append(reason)
        bar.step(failed=True, retried=client.retried)

    try:
        ask(to_ask, client, replied=replied, failed=failed)
    finally:
        bar.close()
    money = cost(spent[0], spent[1], config)
    console.say(
        f"The server counted {spent[0]:,} input and {spent[1]:,} output tokens"
        f"{'' if money is None else f', at a cost of {money:,.2f}'}."
    )
    if spent[2]:
        console.say(f"{spent[2]:,} replies were truncated. Raise max_tokens to avoid this.")
    return failures
