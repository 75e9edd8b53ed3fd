# Sourced, never run: makes the libraries that scripts/install put into .deps visible to pkg-config.
#
# Where the system has them all there is no .deps, and this changes nothing. It may be sourced from any
# directory, any number of times, from bash or from sh with the project root as the current directory.

_ringtail_root=$(cd "$(dirname "${BASH_SOURCE:-scripts/env.sh}")/.." && pwd)
for _ringtail_pc in "$_ringtail_root"/.deps/usr/lib/*/pkgconfig; do
    if [ -d "$_ringtail_pc" ]; then
        case ":${PKG_CONFIG_PATH:-}:" in
        *":$_ringtail_pc:"*) ;;
        *) export PKG_CONFIG_PATH="$_ringtail_pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" ;;
        esac
    fi
done
unset _ringtail_root _ringtail_pc
