# SPDX-License-Identifier: Apache-2.0
# What the scripts of this folder share; they read it with $source, $build and $work set.

# folder FAMILY: of the model's checkpoint
folder() {
    case $1 in
    llama) echo llava ;;
    *) echo "llava-$1" ;;
    esac
}

# left_out FAMILY CASE...: true, and says so, where the family's figures are left out: under sanitizers, which take minutes
# for each and look for what one family shows
left_out() {
    [ -n "${sanitized-}" ] && [ "$1" != llama ] || return 1
    shift
    for case; do
        echo "[ RUN      ] $case"
        echo "    skipped: under sanitizers only llama's figures are computed"
        echo "[  SKIPPED ] $case"
    done
}

# recast FAMILY TYPE: its checkpoint with all tensors as f32 or bf16
recast() {
    from=$source/share/tiny/$(folder "$1")
    mkdir -p "$work/$1-$2"
    for file in "$from"/*; do
        case $file in
        *.safetensors) "$build/tests/accuracy/recast" "$2" "$file" "$work/$1-$2/${file##*/}" ;;
        *) cp "$file" "$work/$1-$2/" ;;
        esac
    done
}

# value FILE KEY...: a number of a report, by the keys on the way to it
value() {
    file=$1
    shift
    awk -v wanted="$(echo "$*" | tr ' ' .)" '
        { line = $0; gsub(/^ +|,$/, "", line) }
        line ~ /^[]}]$/ { depth--; next }
        {
            key = line
            sub(/^"/, "", key); sub(/".*/, "", key)
            path[depth] = key
            at = path[1]
            for (i = 2; i <= depth; i++) at = at "." path[i]
            if (at == wanted) { sub(/.*": /, "", line); print line; exit }
        }
        line ~ /[[{]$/ { depth++ }' "$file"
}
