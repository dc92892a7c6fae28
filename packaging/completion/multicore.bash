# Completion of multicore(1) for bash.

_multicore() {
    local word=${COMP_WORDS[COMP_CWORD]} options words='' # words: instead of files
    local commands='serve warmup check stats top run reload drain stack quarantine doctor help'
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    serve) options='--serial-load --refork-after --startup-profile --json --startup-trace --help' ;;
    warmup) options='--budget --cpu-budget --serial-load --json --trace --help' ;;
    check) options='--effective --help' ;;
    run) options='--format --items --timeout --repeat --concurrency --socket --help' ;;
    reload) options='--no-wait --socket --help' ;;
    drain) options='--timeout --no-wait --socket --help' ;;
    stack) options='--json --socket --help' words='all' ;;
    quarantine) options='--json --socket --help' words='list show' ;;
    doctor) options='--json --help' ;;
    stats) options='--json --prometheus --interval --listen --socket --help' ;;
    top) options='--delay --count --plain --no-color --socket --help' ;;
    help)
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
        return
        ;;
    *) return ;;
    esac
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --format ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'raw json msgpack' -- "$word")
    elif [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ -n $words && ${COMP_WORDS[COMP_CWORD - 1]} != --socket ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}

complete -F _multicore multicore
