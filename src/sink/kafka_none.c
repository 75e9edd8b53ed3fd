/* The Kafka transport of a ringtail that was built without it. */
#include "ringtail/sink/kafka.h"

#include <errno.h>
#include <stdio.h>

int kafka_transport_create(struct ring *ring, const struct kafka_options *options,
                           struct transport **ret, char *why, size_t why_size)
{
    (void)snprintf(why, why_size, "this ringtail was built without Kafka (the feature `kafka`)");
    return -EOPNOTSUPP;
}
