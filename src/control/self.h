/* Which container ringtail itself runs in: following its own log would feed on itself. */
#pragma once

#include "ringtail/docker/reply.h"

/**
 * The id of our own container, by what the Engine mounts into it (/proc/self/mountinfo) or by our
 * control group. Reads files: before the ring runs. Returns whether there is one.
 */
bool self_container_id(char ret_id[REPLY_ID_LEN + 1]);

/** The id in the text of one of those files: 64 hex digits behind "/containers/" or "docker" and a
 * delimiter. For tests. */
bool self_find_id(struct slice text, char ret_id[REPLY_ID_LEN + 1]);
