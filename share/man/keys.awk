# SPDX-License-Identifier: Apache-2.0
# llavamore-inspect --keys | awk -f keys.awk: the key tables of llavamore.ini(5), between its two marks. `make update-man`
# puts them there, and a test of tests/cli compares.
function roff(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); sub(/^\./, "\\\\\\&.", text); return text }
/^\[/ {
    at = index($0, "]")
    print ".SS [" substr($0, 2, at - 2) "]"
    print roff(substr($0, at + 2))
    next
}
/^  / {
    line = substr($0, 3)
    at = index(line, " (")
    end = index(line, "): ")
    print ".TP"
    print ".B " roff(substr(line, 1, at - 1))
    print roff(substr(line, end + 3))
    print ".br"
    print "(" roff(substr(line, at + 2, end - at - 2)) ")"
}
