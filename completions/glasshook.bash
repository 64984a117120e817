# bash completion for glasshook. Made by: glasshook completion bash
_glasshook() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= next i
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -- ]] && { compopt -o default; return; }
    next="${path:+$path }${COMP_WORDS[i]}"
    case "$next" in 'run'|'trace'|'watch'|'replay'|'ps'|'maps'|'modules'|'symbols'|'apis'|'apis list'|'apis show'|'apis search'|'image'|'image build'|'image list'|'image rm'|'doctor'|'demo'|'bench'|'completion'|'version') path=$next ;; esac
  done
  # "--name=value" comes as three words.
  [[ $cur == = ]] && cur= && prev=${COMP_WORDS[COMP_CWORD-1]}
  [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}
  case "$path:$prev" in
    ':--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'run:--behaviours') COMPREPLY=(); return ;;
    'run:-e'|'run:--api') COMPREPLY=($(compgen -W "$(glasshook apis list --names 2>/dev/null)" -- "$cur")); return ;;
    'run:--rate') COMPREPLY=(); return ;;
    'run:--commands') compopt -o default; COMPREPLY=(); return ;;
    'run:--tier') COMPREPLY=($(compgen -W "stealth broad" -- "$cur")); return ;;
    'run:--pid') COMPREPLY=(); return ;;
    'run:--comm') COMPREPLY=(); return ;;
    'run:--exe') COMPREPLY=(); return ;;
    'run:--guest') COMPREPLY=(); return ;;
    'run:--image') compopt -o default; COMPREPLY=(); return ;;
    'run:--kernel') compopt -o default; COMPREPLY=(); return ;;
    'run:--initrd') compopt -o default; COMPREPLY=(); return ;;
    'run:--append') COMPREPLY=(); return ;;
    'run:--smp') COMPREPLY=(); return ;;
    'run:--memory') COMPREPLY=(); return ;;
    'run:--accel') COMPREPLY=(); return ;;
    'run:--copy') compopt -o default; COMPREPLY=(); return ;;
    'run:--directory') COMPREPLY=(); return ;;
    'run:--env') COMPREPLY=(); return ;;
    'run:--console') compopt -o default; COMPREPLY=(); return ;;
    'run:--timeout') COMPREPLY=(); return ;;
    'run:--json') compopt -o default; COMPREPLY=(); return ;;
    'run:--show') COMPREPLY=($(compgen -W "all changes notable" -- "$cur")); return ;;
    'run:--host-id') COMPREPLY=(); return ;;
    'run:--linger') COMPREPLY=(); return ;;
    'run:--record') compopt -o default; COMPREPLY=(); return ;;
    'run:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'trace:-e'|'trace:--api') COMPREPLY=($(compgen -W "$(glasshook apis list --names 2>/dev/null)" -- "$cur")); return ;;
    'trace:--rate') COMPREPLY=(); return ;;
    'trace:--commands') compopt -o default; COMPREPLY=(); return ;;
    'trace:--tier') COMPREPLY=($(compgen -W "stealth broad" -- "$cur")); return ;;
    'trace:--pid') COMPREPLY=(); return ;;
    'trace:--comm') COMPREPLY=(); return ;;
    'trace:--exe') COMPREPLY=(); return ;;
    'trace:--guest') COMPREPLY=(); return ;;
    'trace:--image') compopt -o default; COMPREPLY=(); return ;;
    'trace:--kernel') compopt -o default; COMPREPLY=(); return ;;
    'trace:--initrd') compopt -o default; COMPREPLY=(); return ;;
    'trace:--append') COMPREPLY=(); return ;;
    'trace:--smp') COMPREPLY=(); return ;;
    'trace:--memory') COMPREPLY=(); return ;;
    'trace:--accel') COMPREPLY=(); return ;;
    'trace:--copy') compopt -o default; COMPREPLY=(); return ;;
    'trace:--directory') COMPREPLY=(); return ;;
    'trace:--env') COMPREPLY=(); return ;;
    'trace:--console') compopt -o default; COMPREPLY=(); return ;;
    'trace:--timeout') COMPREPLY=(); return ;;
    'trace:--json') compopt -o default; COMPREPLY=(); return ;;
    'trace:--show') COMPREPLY=($(compgen -W "all changes notable" -- "$cur")); return ;;
    'trace:--host-id') COMPREPLY=(); return ;;
    'trace:--linger') COMPREPLY=(); return ;;
    'trace:--record') compopt -o default; COMPREPLY=(); return ;;
    'trace:--vm') compopt -o default; COMPREPLY=(); return ;;
    'trace:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'watch:--behaviours') COMPREPLY=(); return ;;
    'watch:-e'|'watch:--api') COMPREPLY=($(compgen -W "$(glasshook apis list --names 2>/dev/null)" -- "$cur")); return ;;
    'watch:--rate') COMPREPLY=(); return ;;
    'watch:--commands') compopt -o default; COMPREPLY=(); return ;;
    'watch:--tier') COMPREPLY=($(compgen -W "stealth broad" -- "$cur")); return ;;
    'watch:--pid') COMPREPLY=(); return ;;
    'watch:--comm') COMPREPLY=(); return ;;
    'watch:--exe') COMPREPLY=(); return ;;
    'watch:--timeout') COMPREPLY=(); return ;;
    'watch:--json') compopt -o default; COMPREPLY=(); return ;;
    'watch:--show') COMPREPLY=($(compgen -W "all changes notable" -- "$cur")); return ;;
    'watch:--host-id') COMPREPLY=(); return ;;
    'watch:--record') compopt -o default; COMPREPLY=(); return ;;
    'watch:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'replay:--timeout') COMPREPLY=(); return ;;
    'replay:--json') compopt -o default; COMPREPLY=(); return ;;
    'replay:--show') COMPREPLY=($(compgen -W "all changes notable" -- "$cur")); return ;;
    'replay:--host-id') COMPREPLY=(); return ;;
    'replay:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'ps:--vm') compopt -o default; COMPREPLY=(); return ;;
    'ps:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'maps:--vm') compopt -o default; COMPREPLY=(); return ;;
    'maps:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'modules:--vm') compopt -o default; COMPREPLY=(); return ;;
    'modules:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'symbols:--vm') compopt -o default; COMPREPLY=(); return ;;
    'symbols:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'apis:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'apis list:--category') COMPREPLY=(); return ;;
    'apis list:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'apis show:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'apis search:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'image:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'image build:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'image list:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'image rm:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'doctor:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'demo:--json') compopt -o default; COMPREPLY=(); return ;;
    'demo:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'bench:--out') COMPREPLY=(); return ;;
    'bench:--docs') compopt -o default; COMPREPLY=(); return ;;
    'bench:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'completion:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
    'version:--color') COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
  esac
  case "$path" in
    '') words='run trace watch replay ps maps modules symbols apis image doctor demo bench completion version -h --help --color' ;;
    'run') compopt -o default; words='-h --help --behaviours -e --api --rate --commands --tier --pid --comm --exe --tree --all-processes --guest --image --kernel --initrd --append --smp --memory --accel --stealth --cold-boot --copy --directory --env --console --timeout --json --live --show --quiet --hooks --utc --host-id --linger --record --color' ;;
    'trace') compopt -o default; words='-h --help -e --api --rate --commands --tier --pid --comm --exe --tree --all-processes --guest --image --kernel --initrd --append --smp --memory --accel --stealth --cold-boot --copy --directory --env --console --timeout --json --live --show --quiet --hooks --utc --host-id --linger --record --vm --color' ;;
    'watch') [[ $cur == -* ]] || { compopt -o default; COMPREPLY=(); return; }; words='-h --help --behaviours -e --api --rate --commands --tier --pid --comm --exe --tree --timeout --json --live --show --quiet --hooks --utc --host-id --record --color' ;;
    'replay') [[ $cur == -* ]] || { compopt -o default; COMPREPLY=(); return; }; words='-h --help --timeout --json --live --show --quiet --hooks --utc --host-id --color' ;;
    'ps') words='-h --help --vm --json --color' ;;
    'maps') words='-h --help --vm --json --color' ;;
    'modules') words='-h --help --vm --json --color' ;;
    'symbols') words='-h --help --vm --json --color' ;;
    'apis') words='list show search -h --help --color' ;;
    'apis list') words='-h --help --json --category --names --color' ;;
    'apis show') [[ $cur == -* ]] || { COMPREPLY=($(compgen -W "$(glasshook apis list --names 2>/dev/null)" -- "$cur")); return; }; words='-h --help --json --color' ;;
    'apis search') words='-h --help --json --color' ;;
    'image') words='build list rm -h --help --color' ;;
    'image build') words='-h --help --rebuild --color' ;;
    'image list') words='-h --help --json --color' ;;
    'image rm') words='-h --help --color' ;;
    'doctor') words='-h --help --json --color' ;;
    'demo') words='-h --help --json --color linux windows' ;;
    'bench') words='-h --help --out --docs --report-only --color hit guest files single registry counted-guest counted-files counted-single replay memory start windows scale peers' ;;
    'completion') words='-h --help --color bash zsh fish' ;;
    'version') words='-h --help --color' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _glasshook glasshook
