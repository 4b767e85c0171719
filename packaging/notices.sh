#!/usr/bin/env bash
# Prints the licences of the modules that are linked into bin/holdfast, which ask that
# whoever hands out the program hands them out, too.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "The program holdfast has in it the Go modules below, each under its own license."
go version -m bin/holdfast | awk '$1 == "dep" { print $2 "@" $3 }' | LC_ALL=C sort | while read -r module; do
	dir=$(go list -m -f '{{.Dir}}' "${module%@*}")
	printf '\n==== %s\n\n' "$module"
	found=false
	for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
		[ -f "$file" ] || continue
		cat "$file"; echo
		found=true
	done
	$found || { echo "notices: $module has no license" >&2; exit 1; }
done
printf '\n==== Go %s, its runtime and standard library\n\n' "$(go env GOVERSION)"
cat "$(go env GOROOT)/LICENSE"
