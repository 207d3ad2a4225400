#!/usr/bin/env bash
# Sweep and analyse many agents, one after the other. Run it again after an interruption: what is done is left alone.
#
#   examples/bash/many_agents.sh AGENT_FOLDER [AGENT_FOLDER ...]
#
# SWEEP_FLAGS and ANALYSIS_FLAGS are handed on, as in  ANALYSIS_FLAGS="--max_neurons 4" examples/bash/many_agents.sh runs/*
# PYTHON names the interpreter. An agent that fails does not stop the others; the exit code is then 1.
set -u
python=${PYTHON:-python}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/Neuron_Selection

if [ $# -eq 0 ]; then
    echo "usage: $0 AGENT_FOLDER [AGENT_FOLDER ...]" >&2
    exit 2
fi

trap 'echo "interrupted at $agent; run this again to go on" >&2; exit 130' INT TERM
failed=()
for agent in "$@"; do
    echo "== $agent"
    # shellcheck disable=SC2086 - the flags are words
    if ! "$python" "$tools/ExperimentTooling/run_experiments.py" --agent_path "$agent" ${SWEEP_FLAGS:-} ||
        ! "$python" "$tools/AnalysisTooling/analyze_metrics.py" --agent_path "$agent" ${ANALYSIS_FLAGS:-}; then
        failed+=("$agent")
    fi
done

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
