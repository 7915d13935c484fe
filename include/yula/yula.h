/* yula.h: libyula, an event loop in C. Includes every public header.
 *
 * One thread owns a loop. Everything marked "Thread: loop" in these headers
 * belongs to that thread; what is marked "Thread: any" may be called from
 * everywhere. Functions return 0 (or a count) or a negative code, see err.h.
 */
#ifndef YULA_YULA_H
#define YULA_YULA_H

#include <yula/await.h>
#include <yula/channel.h>
#include <yula/cluster.h>
#include <yula/conn.h>
#include <yula/coroutine.h>
#include <yula/datagram.h>
#include <yula/err.h>
#include <yula/file.h>
#include <yula/group.h>
#include <yula/listener.h>
#include <yula/local.h>
#include <yula/loop.h>
#include <yula/mailbox.h>
#include <yula/pipe.h>
#include <yula/resolve.h>
#include <yula/scope.h>
#include <yula/signal.h>
#include <yula/stack.h>
#include <yula/stream.h>
#include <yula/sync.h>
#include <yula/task.h>
#include <yula/timer.h>
#include <yula/watcher.h>
#include <yula/work.h>
#include <yula/worker.h>

#endif /* YULA_YULA_H */
