# Completion of multicore(1) for bash.

_multicore() {
    local word=${COMP_WORDS[COMP_CWORD]} options
    local commands='serve check stats top help'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    serve) options='--help' ;;
    check) options='--effective --help' ;;
    stats) options='--json --prometheus --interval --listen --socket --help' ;;
    top) options='--delay --count --plain --no-color --socket --help' ;;
    help)
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        return
        ;;
    *) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _multicore multicore
