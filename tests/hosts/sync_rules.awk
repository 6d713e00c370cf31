# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# The order of system calls that durability rests on. Reads what `strace -f -y` wrote of a host that
# writes to stdout once an operation was acknowledged and, with one writer, starts none before that.
#   awk -v root=DIRECTORY -f sync_rules.awk TRACE
# Ends with 1 and names rule and line if one is broken; otherwise prints what it has seen.
#
# Files are known by the path that strace shows; one without a name by "#" and its inode. Of each,
# `wrote` is the line of the last write and `synced` that of the last write before a sync began that
# succeeded. The same for names in the directory: `changed` and `directory_synced`.

function fail(rule) {
    printf "line %d: %s\n  %s\n", NR, rule, $0
    broken = 1
    exit 1
}

function is_journal(path) { return path ~ ("^" root "/journal[.][0-9]+$") }
function is_dirty(path) { return wrote[path] > synced[path] }
function is_loose(name) { return changed[name] > directory_synced }
function last_part(text) { sub(/.*\//, "", text); return text }

# The path behind the n-th descriptor of the call.
function path_of(text, n,    path) {
    while (n-- > 0) {
        if (!match(text, /[0-9A-Z_]+<[^>]*>/))
            return ""
        path = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
    }
    sub(/^[^<]*</, "", path)
    sub(/>$/, "", path)
    return path
}

# The n-th text in quotes.
function quoted(text, n,    parts) {
    split(text, parts, "\"")
    return parts[2 * n]
}

function check_acknowledged(    path) {
    ++acknowledgements
    for (path in holds_batches) {
        if (is_dirty(path))
            fail("an acknowledgement before the sync of " path)
        if (is_loose(last_part(path)))
            fail("an acknowledgement before the directory sync that makes " path " durable")
    }
    if (made_root && !root_synced)
        fail("an acknowledgement before the sync of the directory that the store was made in")
}

function check_write(text,    path, offset) {
    path = path_of(text, 1)
    offset = text
    sub(/\).*$/, "", offset)
    sub(/^.*, /, "", offset)
    if (is_journal(path) && quoted(text, 1) ~ /^WBB1/) {
        ++batches
        if (offset + 0 > last_batch[path] && is_dirty(path))
            fail("a batch was appended to " path " before what stands in it was synced")
        if (is_loose(last_part(path)))
            fail("a batch was written before the directory sync that makes " path " durable")
        holds_batches[path] = 1
        if (offset + 0 > last_batch[path])
            last_batch[path] = offset + 0
    }
    if (path == root "/LOCK" && quoted(text, 1) ~ /^waybill store/) {
        if (is_loose("snapshot"))
            fail("LOCK was marked before the directory sync that makes the snapshot durable")
        if (!("snapshot" in changed) && !reopened)
            fail("LOCK was marked before there was a snapshot")
    }
    wrote[path] = NR
}

# A name is given: linkat of a file without one, or rename.
function check_name(text, from, to,    file) {
    if (last_part(to) !~ /^snapshot/)
        return
    file = from ~ /^\/proc\/self\/fd\// ? without_name[last_part(from)] : ""
    if (file == "")
        file = named[last_part(from)]
    if (file == "")
        file = root "/" last_part(from)
    if (!(file in wrote))
        fail("a file that was never written got the name " last_part(to))
    if (is_dirty(file))
        fail("a file got the name " last_part(to) " before it was synced")
    if (last_part(to) == "snapshot" && kept > kept_synced)
        fail("a snapshot got its name before what is damaged was kept")
    named[last_part(to)] = file
}

function check_removal(name) {
    if (name !~ /^journal[.]/)
        return
    ++removals
    if (is_loose("snapshot"))
        fail(name " was removed before the directory sync that makes the snapshot durable")
    if (kept > kept_synced)
        fail(name " was removed before what is damaged was kept")
}

# What must hold when a call begins.
function begins(call, text) {
    if (call == "write" && text ~ /^write\(1</ && quoted(text, 1) !~ /^\\1\\0/)
        check_acknowledged()
    else if (call == "write" || call == "pwrite64")
        check_write(text)
    else if (call == "linkat" && path_of(text, 2) != root "/damaged")
        check_name(text, quoted(text, 1), quoted(text, 2))
    else if (call ~ /^rename/)
        check_name(text, quoted(text, 1), quoted(text, 2))
    else if (call == "unlinkat")
        check_removal(last_part(quoted(text, 1)))
    else if (call ~ /^(open|creat)/) {
        ++opens
        if (text !~ /O_CLOEXEC/)
            fail("a descriptor that survives exec")
    }
}

# What is so once it has succeeded; `began` is the line where it began.
function ends(call, text, began,    path, result) {
    result = text
    sub(/^.* = /, "", result)
    if (result ~ /^-/)
        return
    if (call == "fsync" || call == "fdatasync") {
        path = path_of(text, 1)
        if (wrote[path] <= began)
            synced[path] = wrote[path]
        syncs += is_journal(path)
        if (path == root) {
            ++directory_syncs
            directory_synced = began
        } else if (path == root "/damaged") {
            kept_synced = began
        } else if (index(root, path "/") == 1) {
            root_synced = 1
        }
    } else if (call == "openat" && text ~ /O_TMPFILE/) {
        without_name[result + 0] = path_of(result, 1)
    } else if (call == "openat" && text ~ /O_CREAT/ && path_of(text, 1) == root) {
        changed[quoted(text, 1)] = NR
    } else if (call == "openat" && quoted(text, 1) ~ /^journal[.]/) {
        reopened = 1
    } else if (call == "linkat" && path_of(text, 2) == root "/damaged") {
        kept = NR
    } else if (call == "linkat" || call ~ /^rename/) {
        changed[last_part(quoted(text, 2))] = NR
        names += last_part(quoted(text, 2)) == "snapshot"
    } else if (call == "unlinkat") {
        changed[last_part(quoted(text, 1))] = NR
        delete holds_batches[root "/" last_part(quoted(text, 1))]
    } else if (call == "mkdir" && quoted(text, 1) == root) {
        made_root = 1
    }
}

/<unfinished [.][.][.]>$/ || /^[0-9]+ +[a-z0-9_]+\(/ {
    thread = $1
    text = $0
    sub(/^[0-9]+ +/, "", text)
    call = text
    sub(/\(.*/, "", call)
    if (sub(/ *<unfinished [.][.][.]>$/, "", text)) {
        pending[thread] = text
        pending_call[thread] = call
        pending_since[thread] = NR
        begins(call, text)
    } else {
        begins(call, text)
        ends(call, text, NR)
    }
    next
}

/^[0-9]+ +<[.][.][.] [a-z0-9_]+ resumed>/ {
    thread = $1
    text = $0
    sub(/^.* resumed>/, "", text)
    if (thread in pending)
        ends(pending_call[thread], pending[thread] text, pending_since[thread])
    delete pending[thread]
}

END {
    if (broken)
        exit 1
    for (name in changed)
        if (name ~ /^(journal|snapshot)/ && is_loose(name)) {
            print "at the end: no directory sync behind the change of " name
            exit 1
        }
    if (acknowledgements == 0 || batches == 0) {
        print "at the end: nothing was written, or nothing acknowledged"
        exit 1
    }
    printf "%d acknowledgements, %d batches, %d journal syncs, ", acknowledgements, batches, syncs
    printf "%d snapshots named, %d journals removed, ", names, removals
    printf "%d directory syncs, %d opens: all in order\n", directory_syncs, opens
}
