/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who keeps a buffer in memory, and what becomes of it, beside the last close:
 * EXPORT: an ioctl of the node makes another one; RESET: a reset goes through
 * them; TAKE_BACK: the owner takes one back; FAULT: a process waits in a fault.
 *
 * check: reset -DEXPORT -DRESET
 * check: take-back -DEXPORT -DTAKE_BACK
 * check: fault -DRESET -DFAULT
 * mutant: BUG_NEXT_WITHOUT_REF reset no_use_after_free
 * mutant: BUG_TELL_WITHOUT_REF reset no_use_after_free
 * mutant: BUG_RELEASE_KEEPS_LISTED take-back no_use_after_free
 * mutant: BUG_NODE_UNLOCKED take-back no_use_after_free
 * mutant: BUG_CLOSE_BEFORE_NODE take-back no_access_after_close
 * mutant: BUG_CLOSE_FORGETS_NOTHING take-back no_access_after_close
 * mutant: BUG_RELEASE_KEEPS_REF take-back nothing_lost
 * mutant: BUG_FAULT_WITHOUT_REF fault no_use_after_free
 */
#define NB 2

byte refs[NB];			/* dvp_buffer.ref */
byte files[NB];			/* references to the dma-buf */
bit freed[NB];
bit listed[NB];
bit has_gate[NB];		/* dvp_buffer.gate is set */
bit has_dmabuf[NB];		/* dvp_buffer.dmabuf is set */
bit dead[NB];
bit revoked[NB];
bit attached[NB];
bit tell[NB];
bit resv[NB];
byte counted;			/* dvp_gate.nr_bufs */

bit closed;			/* the gate is; it lets nobody in */
bit gate_freed;			/* the function is unbound */
byte gate_refs = 1;
bit node_open = 1;		/* dvp_node.dvp is set */
byte node_readers;

bit no_use_after_free = 1;
bit nothing_lost = 1;
bit no_access_after_close = 1;
#define VIOLATED(p) p = 0; assert(p)

inline use(b)
{
	if
	:: freed[b] -> VIOLATED(no_use_after_free)
	:: else
	fi
}

inline use_gate()
{
	if
	:: gate_freed -> VIOLATED(no_use_after_free)
	:: else
	fi
}

inline get(b) { use(b); refs[b]++ }

inline dvp_buffer_put(b)
{
	use(b);
	refs[b]--;
	if
	:: !refs[b] -> freed[b] = 1
	:: else
	fi
}

inline put(b) { atomic { dvp_buffer_put(b) } }

inline dvp_gate_put()
{
	atomic {
		gate_refs--;
		if
		:: !gate_refs -> gate_freed = 1
		:: else
		fi
	}
}

inline dvp_gate_del(b)
{
	atomic {
		use(b);
		if
		:: has_gate[b] ->
			use_gate();
			listed[b] = 0;
			counted--;
			has_gate[b] = 0
		:: else
		fi
	}
}

/* dma_buf_put(); the last one releases: dvp_dmabuf_release() */
inline file_put(b)
{
	atomic { files[b]--; last_ = !files[b] };
	if
	:: last_ ->
		atomic { !resv[b] -> use(b); resv[b] = 1 };
		has_dmabuf[b] = 0;
		resv[b] = 0;
#ifndef BUG_RELEASE_KEEPS_LISTED
		dvp_gate_del(b);
#endif
#ifdef BUG_RELEASE_KEEPS_REF
		use(b)
#else
		put(b)
#endif
	:: else
	fi;
	last_ = 0
}

inline queue_tell(b)
{
	if
	:: attached[b] && !tell[b] ->
#ifndef BUG_TELL_WITHOUT_REF
		get(b);
#endif
		tell[b] = 1
	:: else
	fi
}

#define NOBODY	NB

/* cur_: dvp_gate_next_buffer() */
inline next_buffer()
{
	atomic {
		prev_ = cur_;
#ifdef BUG_NEXT_WITHOUT_REF
		if
		:: prev_ != NOBODY -> use(prev_)
		:: else
		fi;
#endif
		if
		:: listed[0] && prev_ == NOBODY -> cur_ = 0
		:: else ->
			if
			:: listed[1] && prev_ != 1 -> cur_ = 1
			:: else -> cur_ = NOBODY
			fi
		fi;
#ifndef BUG_NEXT_WITHOUT_REF
		if
		:: cur_ != NOBODY -> get(cur_)
		:: else
		fi
#endif
	};
#ifndef BUG_NEXT_WITHOUT_REF
	if
	:: prev_ != NOBODY -> put(prev_)
	:: else
	fi;
#endif
	prev_ = NOBODY
}

inline dvp_buffer_mark(b, for_good)
{
	atomic {
		use(b);
		if
		:: !revoked[b] && !dead[b] -> queue_tell(b)
		:: else
		fi;
		revoked[b] = 1;
		dead[b] = dead[b] || for_good
	}
}

inline each(for_good)
{
	next_buffer();
	do
	:: cur_ != NOBODY -> dvp_buffer_mark(cur_, for_good); next_buffer()
	:: else -> break
	od
}

#define LOCALS byte cur_ = NOBODY, prev_ = NOBODY; bit last_

proctype teller(byte b)
{
	bit last_;

end:	do
	:: atomic { tell[b] && !resv[b] -> tell[b] = 0; use(b); resv[b] = 1 };
		use(b);
		atomic {
			/* The importer's callback, if there is still a dma-buf */
			resv[b] = 0
		};
#ifndef BUG_TELL_WITHOUT_REF
		put(b)
#else
		use(b)
#endif
	od
}

/* A client: attaches, closes its descriptor; detaches in its own time. */
proctype client(byte b)
{
	LOCALS;

	files[b] > 0 -> skip;
	if
	:: atomic { !dead[b] -> use(b); attached[b] = 1 };
		/* It has a reference to the dma-buf while it is attached. */
		atomic { use(b); attached[b] = 0 }
	:: skip
	fi;
	file_put(b)
}

/* A reset beside all that */
proctype reset()
{
	LOCALS;

	each(0);
	next_buffer();
	do
	:: cur_ != NOBODY ->
		atomic {
			use(cur_);
			if
			:: revoked[cur_] && !dead[cur_] ->
				revoked[cur_] = 0;
				queue_tell(cur_)
			:: else
			fi
		};
		next_buffer()
	:: else -> break
	od;
	dvp_gate_put()		/* of the set of functions, or dvp_gate_next() */
}

/* An ioctl of the node exports buffer 1. */
proctype node_export()
{
	LOCALS;

	atomic { node_readers++ };	/* down_read(), if nobody writes: see below */
	if
	:: node_open ->
#ifdef BUG_NODE_UNLOCKED
		node_readers--;
#endif
		atomic {
			refs[1] = 1;
			files[1] = 1;
			has_dmabuf[1] = 1
		};
		atomic {			/* dvp_gate_add() */
			use_gate();
			revoked[1] = closed;
			listed[1] = 1;
			has_gate[1] = 1;
			counted++
		};
#ifndef BUG_NODE_UNLOCKED
		node_readers--;
#endif
		run client(1)
	:: else -> node_readers--
	fi
}

/* The owner takes buffer 0 back, and waits for its importers. */
proctype owner_revokes()
{
	LOCALS;
	bit has;

	/* dma_buf_get() of a descriptor, if there is one */
	atomic {
		if
		:: files[0] -> files[0]++; has = 1
		:: else
		fi
	};
	if
	:: has ->
		dvp_buffer_mark(0, 1);
		use(0);				/* dvp_buffer_drain() */
		file_put(0)
	:: else
	fi
}

#ifdef FAULT
/* A process touches buffer 0 while it is revoked: fault_blocked() */
proctype fault()
{
	bit last_;
	bit waits;

	/* Its mapping has a reference to the dma-buf. */
	atomic {
		if
		:: files[0] -> files[0]++
		:: else -> goto out
		fi
	};
	atomic {
		use(0);
		if
		:: revoked[0] && !dead[0] && has_gate[0] ->
			use_gate();
#ifndef BUG_FAULT_WITHOUT_REF
			get(0);
			gate_refs++;
#endif
			waits = 1
		:: else
		fi
	};
	if
	:: waits ->
		/* Without the mmap_lock the mapping may go. */
		file_put(0);
		use(0);
		use_gate();			/* fault_settled() */
#ifndef BUG_FAULT_WITHOUT_REF
		dvp_gate_put();
		put(0)
#endif
	:: else -> file_put(0)
	fi;
out:	skip
}
#endif

/* The last close, and then the function is unbound. */
proctype closer()
{
	LOCALS;

#ifndef BUG_CLOSE_BEFORE_NODE
	/* dvp_node_close() */
	atomic { !node_readers -> node_open = 0 };
#endif
	closed = 1;				/* dvp_gate_close() */
	each(1);
#ifndef BUG_CLOSE_FORGETS_NOTHING
	next_buffer();
	do
	:: cur_ != NOBODY -> dvp_gate_del(cur_); next_buffer()
	:: else -> break
	od;
#endif
#ifdef BUG_CLOSE_BEFORE_NODE
	atomic { !node_readers -> node_open = 0 };
#endif
	atomic {
		if
		:: listed[0] || listed[1] || (has_gate[1] && !dead[1]) ->
			VIOLATED(no_access_after_close)
		:: else
		fi
	};
	dvp_gate_put()				/* dvp_remove() */
}

proctype end_check()
{
	atomic {
		timeout;
		if
		:: counted || listed[0] || listed[1] || !freed[0] ||
		   (refs[1] && !freed[1]) || tell[0] || tell[1] || !gate_freed ->
			VIOLATED(nothing_lost)
		:: else
		fi
	}
}

init {
	atomic {
		refs[0] = 1;
		files[0] = 1;
		has_dmabuf[0] = 1;
		listed[0] = 1;
		has_gate[0] = 1;
		counted = 1;
		run client(0);
		run teller(0);
#ifdef EXPORT
		run teller(1);
		run node_export();
#endif
#ifdef RESET
		gate_refs++;
		run reset();
#endif
#ifdef FAULT
		run fault();
#endif
#ifdef TAKE_BACK
		run owner_revokes();
#endif
		run closer();
		run end_check()
	}
}
