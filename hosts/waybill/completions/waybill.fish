# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# Completion of waybill's command line for fish.
function __waybill_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l begun (commandline -ct)
    set -l option (string match -r '^--[^=]*=' -- $begun)
    set -l path (string replace -r '^--[^=]*=' '' -- $begun)
    for line in ($program complete -- $words $begun 2>/dev/null)
        switch $line
            case ':files*'
                __fish_complete_path $path | string replace -r '^' -- "$option"
            case ':directories*'
                __fish_complete_directories $path '' | string replace -r '^' -- "$option"
            case '*'
                echo $line
        end
    end
end
complete -c waybill -f -a '(__waybill_complete)'
