#!/bin/bash
# expect-report.sh TEXT COMMAND ...: the command must fail, and say TEXT.
text=$1
shift
report=$("$@" 2>&1)
status=$?
if [ $status = 0 ] || [[ $report != *"$text"* ]]; then
    printf '%s\n' "exit status $status, and not the report expected: $text" "$report"
    exit 1
fi
