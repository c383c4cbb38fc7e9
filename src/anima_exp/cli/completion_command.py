"""anima-exp completion SHELL: print the script that completes commands with Tab."""

import sys

from anima_exp.cli.completion import SHELLS
from anima_exp.cli.program import status
from anima_exp.config.lookup import closest
from anima_exp.errors import ConfigError
from anima_exp.system.terminal import write

# Bash splits words at `=` and `:`, and replaces only the part behind the last of them. So the words
# are taken from the line itself, and what stands before that part is removed from the answers.
_BASH = """\
# Completion of anima-exp for bash. Add this line to ~/.bashrc:
#   eval "$(anima-exp completion bash)"
_anima_exp() {
    local line="${COMP_LINE:0:COMP_POINT}" words word current prefix=""
    read -ra words <<< "$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    current="${words[${#words[@]}-1]}"
    if [[ "$COMP_WORDBREAKS" == *=* && "$current" == *=* ]]; then
        prefix="${current%"${current##*=}"}"
    fi
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("${word#"$prefix"}")
    done < <("${words[0]}" complete bash "${words[@]:1}" 2>/dev/null)
}
complete -o nospace -F _anima_exp anima-exp
"""
_ZSH = """\
#compdef anima-exp
# Completion of anima-exp for zsh. Save it as _anima-exp in a folder of $fpath, or add this line to
# ~/.zshrc, after compinit:
#   eval "$(anima-exp completion zsh)"
_anima_exp() {
    local -a whole open
    local line word about
    while IFS= read -r line; do
        word="${line%%$'\\t'*}"
        about=""
        [[ "$line" == *$'\\t'* ]] && about="${line#*$'\\t'}"
        word="${word//:/\\\\:}"
        case "$word" in
            *[=./,[]) open+=("$word${about:+:$about}") ;;
            *) whole+=("$word${about:+:$about}") ;;
        esac
    done < <("${words[1]}" complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#open} )) && _describe -V 'anima-exp' open -S ''
    (( ${#whole} )) && _describe -V 'anima-exp' whole
}
if [ "$funcstack[1]" = "_anima_exp" ]; then
    _anima_exp "$@"
else
    compdef _anima_exp anima-exp
fi
"""
_FISH = """\
# Completion of anima-exp for fish. Save it as ~/.config/fish/completions/anima-exp.fish
function __anima_exp
    set -l words (commandline --tokenize --current-process --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    $words[1] complete fish $words[2..-1] "$current" 2>/dev/null
end
complete --command anima-exp --no-files --arguments '(__anima_exp)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main() -> int:
    """Print the script of the shell that the first argument names."""
    arguments = sys.argv[1:]

    def work() -> None:
        if {"-h", "--help"} & {*arguments}:
            import shutil

            from anima_exp.cli.commands import COMMANDS
            from anima_exp.cli.short_help import short_help

            width = shutil.get_terminal_size((80, 24)).columns
            write(short_help(COMMANDS["completion"], width) + "\n")
            return
        write(script(arguments[0] if arguments else ""))

    return status(work)


def script(shell: str) -> str:
    """Return the script for bash, zsh or fish.

    Raises:
        ConfigError: if it is another shell, or no shell is given.
    """
    if shell in SCRIPTS:
        return SCRIPTS[shell]
    near = closest(shell, SHELLS, cutoff=0.5)
    known = f"Did you mean {near}?" if near else f"Give one of {', '.join(SHELLS)}."
    what = f"There is no completion for '{shell}'" if shell else "Completion needs a shell's name"
    raise ConfigError(f"{what}. {known}")
