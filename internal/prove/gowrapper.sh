#!/bin/sh
# The go command as the mutation tool sees it. The tool takes every failure of
# "go test" for a kill; here a mutant that doesn't compile ends with 2, which it
# knows as not viable. The tool leaves out what no test reaches, and takes the
# conditions of a switch and constants for such, since a profile has no blocks
# for them; here the profile says that all is reached, and the real one is kept.
# A mutant that eats memory is stopped before it harms the machine. The tool's
# "go mod download" would only write a go.work.sum into the project. And it gives
# the tests of a mutant a multiple of the time that its first run took, which on a
# machine that was idle just then is too short: hence the sleep.
ulimit -v 8000000
[ "$1" = test ] || exit 0
case " $* " in
*" -coverprofile "*)
	"$REAL_GO" "$@" || exit
	sleep 4
	while [ "$1" != -coverprofile ]; do shift; done
	cp "$2" "$KEEP_PROFILE" &&
		sed -n 's/^\(.*\.go\):.*/\1:1.1,1000000.1 1 1/p' "$KEEP_PROFILE" | sort -u >>"$2"
	;;
*)
	out=$("$REAL_GO" "$@" 2>&1) && exit
	case $out in
	*"[build failed]"* | *"[setup failed]"*) exit 2 ;;
	esac
	exit 1
	;;
esac
