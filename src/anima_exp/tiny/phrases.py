"""Phrase words and numbers in English or Chinese."""

from collections.abc import Mapping

from anima_exp.errors import ConfigError

LANGUAGES = ("en", "zh")

# A slot of a template: a word or number, a list of them, or a table of pairs.
Value = str | tuple[str, ...] | tuple[tuple[str, str], ...]

# Every animal here is counted with 只 in Chinese, so one template fits them all.
ANIMALS = {
    "cat": "猫",
    "dog": "狗",
    "bird": "鸟",
    "duck": "鸭子",
    "sheep": "羊",
    "rabbit": "兔子",
    "mouse": "老鼠",
    "bear": "熊",
    "tiger": "老虎",
    "monkey": "猴子",
    "fox": "狐狸",
    "frog": "青蛙",
}
COLOURS = {
    "red": "红色",
    "blue": "蓝色",
    "green": "绿色",
    "yellow": "黄色",
    "white": "白色",
    "black": "黑色",
    "brown": "棕色",
    "grey": "灰色",
    "pink": "粉色",
    "purple": "紫色",
}
FRUITS = {
    "apple": "苹果",
    "banana": "香蕉",
    "grape": "葡萄",
    "lemon": "柠檬",
    "mango": "芒果",
    "melon": "甜瓜",
    "peach": "桃子",
    "pear": "梨",
    "plum": "李子",
    "cherry": "樱桃",
}
ORDINALS = {"first": "第一个", "second": "第二个", "third": "第三个", "last": "最后一个"}
EXTREMES = {"largest": "最大", "smallest": "最小"}
ORDERS = {"from small to large": "从小到大", "from large to small": "从大到小"}
PARITIES = {"odd": "奇数", "even": "偶数"}

GLOSSARY = {
    english: chinese
    for words in (ANIMALS, COLOURS, FRUITS, ORDINALS, EXTREMES, ORDERS, PARITIES)
    for english, chinese in words.items()
}

TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "addition": {
        "en": (
            "What is {a} plus {b}?",
            "Add {a} and {b}.",
            "Find the sum of {a} and {b}.",
            "If you have {a} and get {b} more, how many do you have?",
            "Work out {a} plus {b}.",
            "How much do {a} and {b} make together?",
        ),
        "zh": (
            "{a}加{b}等于多少？",
            "计算{a}与{b}的和。",
            "请把{a}和{b}相加。",
            "先有{a}个，又来了{b}个，一共有多少个？",
            "求{a}加上{b}的结果。",
            "{a}和{b}合起来是多少？",
        ),
    },
    "subtraction": {
        "en": (
            "What is {a} minus {b}?",
            "Subtract {b} from {a}.",
            "Find the difference between {a} and {b}.",
            "If you have {a} and lose {b}, how many are left?",
            "Take {b} away from {a}.",
            "By how much is {a} more than {b}?",
        ),
        "zh": (
            "{a}减{b}等于多少？",
            "计算{a}与{b}的差。",
            "请从{a}中减去{b}。",
            "一共{a}个，用掉{b}个，还剩多少个？",
            "求{a}减去{b}的结果。",
            "{a}比{b}多多少？",
        ),
    },
    "extreme": {
        "en": (
            "Which is the {how} of {items}?",
            "Find the {how} number: {items}.",
            "Pick the {how} number from {items}.",
            "Out of {items}, which number is the {how}?",
            "Tell me the {how} of {items}.",
        ),
        "zh": (
            "{items}中{how}的数是哪个？",
            "找出{how}的数：{items}。",
            "从{items}里选出{how}的一个。",
            "下面哪个数{how}？{items}",
            "说出{items}里{how}的数字。",
        ),
    },
    "sorting": {
        "en": (
            "Sort {items} {how}.",
            "Put these numbers in order {how}: {items}.",
            "Arrange {items} {how}.",
            "List the numbers {items} {how}.",
            "Order this {how}: {items}.",
        ),
        "zh": (
            "把{items}{how}排列。",
            "请{how}写出这些数：{items}。",
            "将下列数字{how}排序：{items}。",
            "给{items}{how}排个序。",
            "{how}排一排：{items}。",
        ),
    },
    "reversal": {
        "en": (
            "Reverse the sequence {letters}.",
            "Write {letters} backwards.",
            "Give the letters {letters} in the opposite order.",
            "Read {letters} from right to left.",
            "Turn this around: {letters}.",
        ),
        "zh": (
            "把{letters}倒过来写。",
            "将序列{letters}反转。",
            "请从右往左读出：{letters}。",
            "倒序写出这些字母：{letters}。",
            "把下面的字母顺序颠倒：{letters}。",
        ),
    },
    "counting": {
        "en": (
            "How many times does {item} appear in {items}?",
            "Count the word {item} in this list: {items}.",
            "How often do you see {item} here: {items}?",
            "In {items}, how many are {item}?",
            "Give the number of entries with {item}: {items}.",
        ),
        "zh": (
            "{items}中{item}出现了几次？",
            "数一数这里有几只{item}：{items}。",
            "名单{items}里一共有多少只{item}？",
            "请统计{item}的数量：{items}。",
            "在{items}当中，{item}有几只？",
        ),
    },
    "lookup": {
        "en": (
            "Given {table}, what colour is the {item}?",
            "Look at this table: {table}. Which colour belongs to the {item}?",
            "{table}. Name the colour of the {item}.",
            "Find the colour of the {item}: {table}.",
            "What is the colour of the {item} if {table}?",
        ),
        "zh": (
            "已知{table}，{item}是什么颜色？",
            "请看表格：{table}。{item}对应哪种颜色？",
            "{table}。说出{item}的颜色。",
            "查出{item}的颜色：{table}。",
            "如果{table}，那么{item}的颜色是什么？",
        ),
    },
    "position": {
        "en": (
            "What is the {how} item of {items}?",
            "Name the {how} word in the list {items}.",
            "From {items}, take the {how} one.",
            "Pick the {how} fruit: {items}.",
            "In {items}, which fruit is the {how}?",
        ),
        "zh": (
            "{items}中{how}是什么？",
            "写出{items}里的{how}词。",
            "从{items}中取出{how}。",
            "请选出{how}水果：{items}。",
            "在{items}里，{how}是哪种水果？",
        ),
    },
    "parity": {
        "en": (
            "Is {a} odd or even?",
            "Say whether {a} is even or odd.",
            "Tell me the parity of {a}.",
            "Is the number {a} an odd or an even one?",
            "Decide if {a} is odd or even.",
        ),
        "zh": (
            "{a}是奇数还是偶数？",
            "请说出{a}是偶数还是奇数。",
            "判断{a}的奇偶性。",
            "数字{a}属于奇数还是偶数？",
            "想一想，{a}是奇数还是偶数？",
        ),
    },
    "sequence": {
        "en": (
            "What comes next: {items}?",
            "Continue the pattern {items} with one more number.",
            "Find the next number after {items}.",
            "Give the next term of {items}.",
            "Which number follows {items}?",
        ),
        "zh": (
            "{items}，下一个数是什么？",
            "按规律填出后面一个数：{items}。",
            "找出{items}之后的下一个数。",
            "数列{items}的下一项是多少？",
            "请接着写一个数：{items}。",
        ),
    },
}


def check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise ConfigError(
            f"There is no language {language!r} in the tiny world. "
            f"Choose one of {', '.join(LANGUAGES)}."
        )


def say(value: Value, language: str) -> str:
    """Return a value in a language. Words outside the glossary are the same in both."""
    if isinstance(value, str):
        return GLOSSARY.get(value, value) if language == "zh" else value
    chinese = language == "zh"
    entries: list[str] = []
    for entry in value:
        if isinstance(entry, str):
            entries.append(say(entry, language))
        else:
            name, attribute = (say(word, language) for word in entry)
            entries.append(f"{name}：{attribute}" if chinese else f"{name}: {attribute}")
    is_table = bool(value) and not isinstance(value[0], str)
    return (("，" if is_table else "、") if chinese else ", ").join(entries)


def phrase(template: str, slots: Mapping[str, Value], language: str) -> str:
    return template.format(**{name: say(value, language) for name, value in slots.items()})
