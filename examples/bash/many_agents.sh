#!/usr/bin/env bash
# Every step of the suite for many agents: what workflow/Snakefile runs, as a plain loop over the same commands.
#
#   examples/bash/many_agents.sh AGENT_FOLDER [AGENT_FOLDER ...]
#   JOBS=4 examples/bash/many_agents.sh runs/*
#
# Run it again after an interruption: a step that is up to date is left as it is. JOBS agents run at the same time (1).
# STEPS names the steps; the default is all of them, with record, pairs and behaviour only if ENVIRONMENT is set, as in
# ENVIRONMENT="--env CartPole-v1". A variable such as SWEEP_FLAGS is added to the step of this name, COMMON_FLAGS (such
# as --overwrite) and AGENT_FLAGS to all. PYTHON names the interpreter. Each step has a log in the agent's
# workflow_logs/. An agent that fails does not stop the others; the exit code is then 1. A network that the step flips
# does not apply to, such as a convolutional one, is reported and goes on with the next step. After the reports of all
# agents, compare_agents.py writes one table and one page about them to comparison/.
# shellcheck disable=SC2206 # the flags are words
set -u
python=${PYTHON:-python}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
all="record pairs extraction sweep analysis minimal_sets saliency perturbation flips interactions edges behaviour report"
[ -n "${ENVIRONMENT:-}" ] || default=$(sed "s/record pairs //; s/behaviour //" <<<"$all")
export STEPS=${STEPS:-${default:-$all}}

command_of() { # step -> script and flags, in the array `command`
    case $1 in
    record) command=(Neuron_Selection/ObservationTooling/record_inputs.py ${ENVIRONMENT:-} ${RECORD_FLAGS---episodes 20}) ;;
    pairs) command=(Neuron_Selection/ObservationTooling/make_pairs.py ${PAIRS_FLAGS---n_pairs 100}) ;;
    extraction) command=(activation_extraction.py ${EXTRACTION_FLAGS:-}) ;;
    sweep) command=(Neuron_Selection/ExperimentTooling/run_experiments.py ${SWEEP_FLAGS:-}) ;;
    analysis) command=(Neuron_Selection/AnalysisTooling/analyze_metrics.py ${ANALYSIS_FLAGS:-}) ;;
    minimal_sets) command=(Neuron_Selection/ExperimentTooling/find_minimal_sets.py ${MINIMAL_SETS_FLAGS---direction denoising}) ;;
    saliency) command=(SaliencyTooling/initial_test.py ${SALIENCY_FLAGS:-}) ;;
    perturbation) command=(Parameter_Selection/PerturbationTooling/perturb_weights.py ${PERTURBATION_FLAGS:-}) ;;
    flips) command=(Parameter_Selection/PerturbationTooling/find_smallest_flips.py ${FLIPS_FLAGS:-}) ;;
    interactions) command=(Neuron_Selection/ExperimentTooling/find_interactions.py ${INTERACTIONS_FLAGS:-}) ;;
    edges) command=(Neuron_Selection/ExperimentTooling/patch_edges.py ${EDGES_FLAGS:-}) ;;
    behaviour) command=(Parameter_Selection/RolloutTooling/run_rollouts.py ${ENVIRONMENT:-} ${BEHAVIOUR_FLAGS---neurons all --episodes 20}) ;;
    report) command=(ReportTooling/make_report.py ${REPORT_FLAGS:-}) ;;
    *) return 1 ;;
    esac
}

run_agent() { # an agent's steps in order, until one fails
    local agent=$1 step log
    for step in $STEPS; do
        log=$agent/workflow_logs/$step.log
        command_of "$step"
        mkdir -p "$agent/workflow_logs" || return 1
        if ! "$python" "$root/${command[0]}" --agent_path "$agent" "${command[@]:1}" ${COMMON_FLAGS:-} >"$log" 2>&1; then
            if [ "$step" = flips ] && tail -n 1 "$log" | grep -q "^error: smallest flips: only MLPs"; then
                echo "left out: $agent: $step: $(tail -n 1 "$log")" >&2
                continue
            fi
            echo "failed: $agent: $step: $(tail -n 1 "$log")" >&2
            return 1
        fi
    done
    echo "done: $agent"
}

if [ "${1:-}" = --agent ]; then # started by xargs below
    run_agent "$2"
    exit
fi
if [ $# -eq 0 ]; then
    echo "usage: $0 AGENT_FOLDER [AGENT_FOLDER ...]" >&2
    exit 2
fi
for step in $STEPS; do
    if ! command_of "$step"; then
        echo "STEPS: found '$step', expected $all" >&2
        exit 2
    fi
done
trap 'echo "interrupted; run this again to continue" >&2; exit 130' INT TERM
if ! printf '%s\0' "$@" | xargs -0 -P "${JOBS:-1}" -n 1 bash "${BASH_SOURCE[0]}" --agent; then
    echo "some of the $# agents failed: see the lines above, and workflow_logs/ in their folders" >&2
    exit 1
fi
if [[ " $STEPS " == *" report "* ]]; then
    "$python" "$root/ReportTooling/compare_agents.py" "$@" --overwrite
fi
