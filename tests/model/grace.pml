/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The wait and its end: a revoke of a function with two buffers, whose
 * importers and clients do what they like. Time passes only while the driver
 * sleeps: what it does itself takes none.
 *
 * DIRECT: nothing can cut the importers off. They let go once they are told,
 * in their own time; somebody else keeps adding fences.
 *
 * check: translated
 * check: close -DCLOSE -DSTUCK
 * check: direct -DDIRECT -DFENCES ltl:the_revoke_ends
 * mutant: BUG_GRACE_OF_EACH translated within_the_grace_period
 * mutant: BUG_JOBS_UNBOUNDED translated within_the_grace_period
 * mutant: BUG_TOLD_INLINE translated within_the_grace_period
 * mutant: BUG_NOT_CUT translated within_the_grace_period
 * mutant: BUG_CUT_UNDER_RESV translated within_the_grace_period
 * mutant: BUG_CLOSE_STARTS_ANEW close within_the_grace_period
 * mutant: BUG_NEW_FENCES direct the_revoke_ends
 */
#define NB	2
#define GRACE	2

byte now = 1;
byte deadline;
byte started;			/* when the first revoke began */
byte closed;			/* when the function's close began */
bit gbusy;
bit revoked;			/* the first revoke has ended */
bit ended			/* and the close */
#ifndef CLOSE
	= 1
#endif
	;

bit usable[NB] = 1;
bit mapped[NB] = 1;
bit cut[NB];
bit busy[NB];
bit firm[NB];
bit tell[NB];
bit told[NB] = 1;
bit resv[NB];
byte fences[NB];		/* bits: jobs that are not done */
byte snap[NB];			/* those of them that are waited for */

#define LET_GO(b)	(!(mapped[b] && !cut[b]) && told[b])

/* What a waiter sleeps for */
#define AWAKE	0
#define FOR_ALL	1		/* until they have let go */
#define FOR_JOB	2
#define FOR_EVER 3		/* for an importer's lock or callback */
byte sleeps[2];
byte on[2];
byte until[2];

#define NEVER	200
#define DUE(w)	(now >= until[w] ||					\
		 (sleeps[w] == FOR_ALL && LET_GO(on[w])) ||		\
		 (sleeps[w] == FOR_JOB && !snap[on[w]]))
#define ASLEEP(w) (sleeps[w] != AWAKE && !DUE(w))

bit within_the_grace_period = 1;
#define VIOLATED(p) p = 0; assert(p)

inline sleep(w, b, what, end)
{
	atomic { on[w] = b; until[w] = end; sleeps[w] = what };
	atomic { DUE(w) -> sleeps[w] = AWAKE; until[w] = 0 }
}

/* For what only an importer gives; nothing ends that wait. */
inline take_resv(w, b)
{
	atomic { on[w] = b; until[w] = NEVER; sleeps[w] = FOR_EVER };
	atomic { !resv[b] -> resv[b] = 1; sleeps[w] = AWAKE; until[w] = 0 }
}

inline dvp_buffer_mark(w, b)
{
	atomic {
		if
		:: usable[b] ->
			busy[b] = mapped[b];
#ifdef DIRECT
			firm[b] = mapped[b];
#endif
			tell[b] = 1;
			told[b] = 0;
			usable[b] = 0
		:: else
		fi
	}
#ifdef BUG_TOLD_INLINE
	if
	:: tell[b] ->
		take_resv(w, b);
		tell[b] = 0;
		atomic { until[w] = NEVER; sleeps[w] = FOR_EVER };
		if
		:: atomic { mapped[b] = 0; sleeps[w] = AWAKE }
		:: skip -> false	/* it does not return */
		fi;
		told[b] = 1;
		resv[b] = 0
	:: else
	fi
#endif
}

inline gate_revoke(w)
{
#ifdef BUG_CLOSE_STARTS_ANEW
	deadline = now + GRACE;
#else
	deadline = (gbusy -> deadline : now + GRACE);
#endif
	dvp_buffer_mark(w, 0);
	dvp_buffer_mark(w, 1);
	gbusy = busy[0] || busy[1]
}

#ifdef BUG_NEW_FENCES
/* Until there is none */
#define ADDED(b)	snap[b] = fences[b]
#else
#define ADDED(b)	skip
#endif

inline buffer_wait_jobs(w, b, end)
{
	snap[b] = fences[b];		/* dma_resv_get_fences() */
#ifdef BUG_JOBS_UNBOUNDED
	sleep(w, b, FOR_JOB, NEVER);
#else
	sleep(w, b, FOR_JOB, end);
#endif
	if
	:: !snap[b] -> busy[b] = 0		/* buffer_set_drained() */
	:: else -> snap[b] = 0
	fi
}

inline dvp_buffer_wait(w, b)
{
#ifdef BUG_GRACE_OF_EACH
	end_ = now + GRACE;
#else
	end_ = deadline;
#endif
	if
	:: busy[b] ->
		sleep(w, b, FOR_ALL, end_);
		if
		:: LET_GO(b) -> buffer_wait_jobs(w, b, end_)
		:: else
		fi
	:: else
	fi;
	end_ = 0
}

inline dvp_buffer_cut(w, b)
{
#ifdef BUG_CUT_UNDER_RESV
	take_resv(w, b);
#endif
	atomic {
		if
		:: busy[b] ->
#ifndef BUG_NOT_CUT
			cut[b] = mapped[b] && !firm[b];
			busy[b] = firm[b]
#endif
		:: else
		fi
	};
#ifdef BUG_CUT_UNDER_RESV
	resv[b] = 0
#endif
}

inline dvp_buffer_wait_firm(w, b)
{
	do
	:: !busy[b] -> break
	:: else ->
		sleep(w, b, FOR_ALL, NEVER);
		buffer_wait_jobs(w, b, NEVER)
	od
}

inline gate_drain_one(w)
{
	if
	:: gbusy ->
		dvp_buffer_wait(w, 0);
		dvp_buffer_wait(w, 1);
		dvp_buffer_cut(w, 0);
		dvp_buffer_cut(w, 1);
		dvp_buffer_wait_firm(w, 0);
		dvp_buffer_wait_firm(w, 1);
		gbusy = 0;
	:: else
	fi
}

/* dvp_gate_block() */
active proctype blocker()
{
	byte end_;

	/* Under the gate's lock, which nobody keeps while he waits */
	atomic { started = now; gate_revoke(0) };
	gate_drain_one(0);
	atomic { end_ = 0; revoked = 1 }
}

#ifdef CLOSE
/* dvp_gate_close(), by somebody else, at any time; STUCK: of those who never let go */
active proctype closer()
{
	byte end_;

	atomic { started -> closed = now; gate_revoke(1) };
	gate_drain_one(1);
	atomic { end_ = 0; ended = 1 }
}
#endif

/* buffer_tell(), and the importer's callback in it */
proctype teller(byte b)
{
end:
	do
	:: atomic { tell[b] && !resv[b] -> tell[b] = 0; resv[b] = 1 };
		if
#ifndef STUCK
		:: mapped[b] = 0
		:: skip
		:: atomic { fences[b] = fences[b] | 1; mapped[b] = 0 }
#endif
#ifndef DIRECT
		:: skip -> false		/* does not return */
#endif
		fi;
		atomic { resv[b] = 0; told[b] = 1 }
	od
}

#define SIGNAL(b, f)							\
	atomic { fences[b] & f -> fences[b] = fences[b] & ~f;		\
		 snap[b] = snap[b] & ~f }

/* In the importer's own time; a translated one's may never come. */
proctype importer(byte b)
{
#ifdef DIRECT
end:	do
	:: atomic { mapped[b] && told[b] && !resv[b] -> mapped[b] = 0 }
	:: SIGNAL(b, 1)
	od
#else
end:	do
	:: atomic { mapped[b] && !usable[b] && !resv[b] -> mapped[b] = 0 }
	:: SIGNAL(b, 1)
	:: break
	od
#endif
}

#ifdef FENCES
/* Whoever has the descriptor may; each of these jobs ends. */
proctype client(byte b)
{
	do
	:: !(fences[b] & 2) -> atomic { fences[b] = fences[b] | 2; ADDED(b) }
	:: !(fences[b] & 4) -> atomic { fences[b] = fences[b] | 4; ADDED(b) }
	:: revoked -> break
	od
}

/* Each of the jobs ends. */
proctype device(byte b; byte f)
{
end:	do
	:: SIGNAL(b, f)
	od
}
#endif

#define LATE(since, over)	(!(over) && now >= since + GRACE)

#ifndef DIRECT
/* jiffies: not while somebody can run */
active proctype clock()
{
end:	do
	:: atomic {
		(revoked || ASLEEP(0)) && (ended || !closed || ASLEEP(1)) &&
		!(revoked && ended) ->
		if
		:: LATE(started, revoked) || (closed && LATE(closed, ended)) ->
			VIOLATED(within_the_grace_period)
		:: else -> now++
		fi
	   }
	od
}
#endif

init {
	atomic {
		run teller(0);
		run teller(1);
#ifndef STUCK
		run importer(0);
		run importer(1);
#endif
#ifdef FENCES
		run client(0);
		run device(0, 2);
		run device(0, 4)
#endif
	}
}

ltl the_revoke_ends { <> revoked }
