// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf-vfio: binds PCI functions to dmabuf-vfio-pci and shows what they, and
 * the machine, can do.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum {
	OPT_HELP	= 1 << 0,
	OPT_JSON	= 1 << 1,
	OPT_FORCE	= 1 << 2,
	OPT_ALL		= 1 << 3,
	OPT_CONFIG	= 1 << 4,
	OPT_COUNT	= 1 << 5,
	OPT_WC		= 1 << 6,
	OPT_RO		= 1 << 7,
	OPT_VERSION	= 1 << 8,
	OPT_TRANSLATED	= 1 << 9,
};

static const struct command {
	const char *name;
	int (*run)(const struct options *opts, int argc, char **argv);
	int min, max;		/* arguments; max -1: any number */
	unsigned int opts;
	const char *args;
	const char *summary;
	const char *help;
} commands[] = {
	{ "bind", cmd_bind, 0, -1, OPT_JSON | OPT_FORCE | OPT_CONFIG,
	  "ADDRESS... | --config[=DIR]", "take functions from their drivers",
	  "Gives functions to " DRIVER " and notes which drivers they had. A\n"
	  "function that is in use (a mounted disk, an interface that is up, the\n"
	  "console, open through VFIO) is refused.\n" },
	{ "unbind", cmd_unbind, 0, -1, OPT_JSON | OPT_FORCE | OPT_CONFIG,
	  "ADDRESS... | --config[=DIR]", "give functions back to their drivers",
	  "Gives functions back to the driver they had. A function that a program\n"
	  "has open is refused; with --force it is waited for.\n" },
	{ "status", cmd_status, 0, -1, OPT_JSON | OPT_ALL, "[ADDRESS...]",
	  "functions, their state, buffers and importers",
	  "Without an address: all functions bound to " DRIVER ", and those of\n"
	  "its drop-in vfio-pci.\n" },
	{ "events", cmd_events, 1, 1, OPT_JSON | OPT_COUNT, "ADDRESS",
	  "what happens to a function, as it happens",
	  "Prints one line per event: number, seconds since boot, event, reasons.\n"
	  "Ends when the function is unbound.\n" },
	{ "export", cmd_export, 2, -1,
	  OPT_WC | OPT_RO | OPT_TRANSLATED,
	  "ADDRESS BAR [OFFSET:LENGTH...] -- COMMAND [ARG...]",
	  "run a command with slices of a BAR as a dma-buf",
	  "The environment variable DMABUF_VFIO_FD tells COMMAND the number of the\n"
	  "open file descriptor. Without a slice the buffer is the whole BAR. Numbers\n"
	  "may end in K, M, G or T. The exit code is that of COMMAND.\n" },
	{ "revoke", cmd_revoke, 2, 2, 0, "ADDRESS BUFFER",
	  "take a buffer back for good",
	  "BUFFER is ino:NUMBER (status shows it), PID:FD, or FD, a descriptor that\n"
	  "this command has inherited.\n" },
	{ "route", cmd_route, 2, 2, OPT_JSON, "PROVIDER CLIENT",
	  "how CLIENT reaches the memory of PROVIDER",
	  "The exit code is 6 if CLIENT does not reach it.\n" },
	{ "topo", cmd_topo, 0, -1, OPT_JSON | OPT_ALL, "[ADDRESS...]",
	  "the routes between all functions",
	  "Prints the functions, a matrix of letters, and what they mean. Without\n"
	  "an address: those that have memory to be reached or that do DMA, and those\n"
	  "that are alike as one. With --all: all but bridges.\n" },
	{ "doctor", cmd_doctor, 0, 2, OPT_JSON, "[ADDRESS [CLIENT]]",
	  "what stands in the way, and the remedy",
	  "Checks the machine and the function at ADDRESS, or all bound functions;\n"
	  "with CLIENT also how that function reaches the memory. The exit code is 6\n"
	  "if there is a fault.\n" },
	{ "report", cmd_report, 0, 1, 0, "[FILE]",
	  "an archive for a bug report",
	  "Writes versions, configuration, kernel messages about VFIO and IOMMUs, and\n"
	  "what doctor, topo and status say, into FILE, dmabuf-vfio-report.tar.gz if\n"
	  "there is none, and says what in it may be private.\n" },
};

static const struct {
	unsigned int bit;
	struct option opt;
	const char *help;
} options[] = {
	{ OPT_HELP, { "help", no_argument, NULL, 0 }, "this text" },
	{ OPT_VERSION, { "version", no_argument, NULL, 0 }, "the version" },
	{ OPT_JSON, { "json", no_argument, NULL, 0 }, "print JSON" },
	{ OPT_FORCE, { "force", no_argument, NULL, 0 },
	  "take it although it is in use; unbind waits until it is closed" },
	{ OPT_ALL, { "all", no_argument, NULL, 0 },
	  "all functions of the machine" },
	{ OPT_CONFIG, { "config", optional_argument, NULL, 0 },
	  "the functions of /etc/dmabuf-vfio.d/*.conf, or DIR" },
	{ OPT_COUNT, { "count", required_argument, NULL, 0 },
	  "end after this many events" },
	{ OPT_WC, { "write-combining", no_argument, NULL, 0 },
	  "CPUs map it write-combining" },
	{ OPT_RO, { "read-only", no_argument, NULL, 0 },
	  "CPUs and devices may only read it" },
	{ OPT_TRANSLATED, { "translated", no_argument, NULL, 0 },
	  "only for devices that an IOMMU can cut off" },
};

/* Prints a message to stderr and returns @err. */
int fail(int err, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, COMMAND ": ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return err;
}

/* @ret: a negative error, or an exit code already. */
static int exit_code(int ret)
{
	switch (ret) {
	case -EMISUSE:
		return EX_WRONG_USAGE;
	case -EREFUSED:
		return EX_REFUSED;
	case -ENOENT:
		return EX_NOT_FOUND;
	case -EACCES:
	case -EPERM:
		return EX_DENIED;
	default:
		return ret < 0 ? EX_FAILED : ret;
	}
}

void *need_memory(void *p)
{
	if (!p)
		exit(exit_code(fail(-ENOMEM, "out of memory")));
	return p;
}

static void print_options(unsigned int allowed)
{
	size_t i;

	printf("\nOptions:\n");
	for (i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].bit & allowed)
			printf("  --%-16s %s\n", options[i].opt.name,
			       options[i].help);
}

static void usage(const struct command *c)
{
	size_t i;

	if (c) {
		printf("Usage: " COMMAND " %s [OPTION...] %s\n\n%s", c->name,
		       c->args, c->help);
		print_options(c->opts | OPT_HELP);
		return;
	}
	printf("Usage: " COMMAND " COMMAND [OPTION...] [ARGUMENT...]\n\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	printf("\nADDRESS is the address of a PCI function, 0000:01:00.0 or 01:00.0.\n"
	       "See also " COMMAND " help COMMAND and " COMMAND "(8).\n");
	print_options(OPT_HELP | OPT_VERSION);
	printf("\nExit codes: 0 done, 1 failed, 2 misuse, 3 refused, 4 not found,\n"
	       "5 not permitted, 6 the answer is no.\n");
}

static int set_count(struct options *opts, const char *text)
{
	char *end;

	errno = 0;
	opts->count = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || !opts->count)
		return fail(-EMISUSE, "--count takes a number from 1");
	return 0;
}

static int set_option(struct options *opts, unsigned int bit)
{
	switch (bit) {
	case OPT_JSON:
		opts->json = true;
		break;
	case OPT_FORCE:
		opts->force = true;
		break;
	case OPT_ALL:
		opts->all = true;
		break;
	case OPT_CONFIG:
		opts->config = true;
		opts->config_dir = optarg;
		break;
	case OPT_COUNT:
		return set_count(opts, optarg);
	case OPT_WC:
		opts->write_combining = true;
		break;
	case OPT_RO:
		opts->read_only = true;
		break;
	case OPT_TRANSLATED:
		opts->translated = true;
		break;
	}
	return 0;
}

/* @help: out, --help was among the options. */
static int parse(const struct command *c, struct options *opts, int argc,
		 char **argv, bool *help)
{
	struct option longs[ARRAY_SIZE(options) + 1] = {};
	unsigned int bits[ARRAY_SIZE(options)];
	int nr = 0, which, opt, ret;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		if (!(options[i].bit & (c->opts | OPT_HELP)))
			continue;
		longs[nr] = options[i].opt;
		bits[nr++] = options[i].bit;
	}
	opterr = 0;
	optind = 1;
	*help = false;
	while ((opt = getopt_long(argc, argv, "h", longs, &which)) >= 0) {
		if (opt == 'h' || (!opt && bits[which] == OPT_HELP)) {
			*help = true;
			return 0;
		}
		if (opt && optopt)
			return fail(-EMISUSE, "%s: unknown option '-%c': see --help",
				    c->name, optopt);
		if (opt)
			return fail(-EMISUSE, "%s: unknown option '%s', or its argument is missing: see --help",
				    c->name, argv[optind - 1]);
		ret = set_option(opts, bits[which]);
		if (ret)
			return ret;
	}
	return 0;
}

static int run(const struct command *c, struct options *opts, int argc,
	       char **argv)
{
	bool help;
	int i, ret;

	/* Options after "--" belong to the command that export runs. */
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--") && c->run == cmd_export) {
			argv[i] = NULL;
			opts->command = argv + i + 1;
			argc = i;
		}
	}
	opts->name = c->name;
	ret = parse(c, opts, argc, argv, &help);
	if (ret)
		return ret;
	if (help) {
		usage(c);
		return 0;
	}
	argc -= optind;
	argv += optind;
	if (argc < c->min || (c->max >= 0 && argc > c->max))
		return fail(-EMISUSE, "usage: " COMMAND " %s %s", c->name,
			    c->args);
	return c->run(opts, argc, argv);
}

static const struct command *command_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static int no_command(const char *name)
{
	return fail(-EMISUSE, "there is no command '%s': see --help", name);
}

/* "help", and "help COMMAND" */
static int help_on(int argc, char **argv)
{
	const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;

	if (argc > 1 && *argv[1] != '-' && !c)
		return no_command(argv[1]);
	usage(c);
	return 0;
}

/* Options that stand before the command, too */
static int run_by_name(int argc, char **argv)
{
	struct options opts = {};
	const struct command *c;

	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h") ||
	    !strcmp(argv[0], "help"))
		return help_on(argc, argv);
	if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
		printf(COMMAND " " DVP_VERSION "\n");
		return 0;
	}
	if (!strcmp(argv[0], "--json") && argc > 1) {
		opts.json = true;
		argv++;
		argc--;
	}
	c = command_find(argv[0]);
	if (!c)
		return no_command(argv[0]);
	if (opts.json && !(c->opts & OPT_JSON))
		return fail(-EMISUSE, "%s: has no --json: see --help", c->name);
	return run(c, &opts, argc, argv);
}

int main(int argc, char **argv)
{
	int code;

	if (argc < 2) {
		usage(NULL);
		return EX_WRONG_USAGE;
	}
	code = exit_code(run_by_name(argc - 1, argv + 1));
	if (fflush(stdout) || ferror(stdout)) {
		fail(-EIO, "cannot write: %s", strerror(errno));
		if (!code || code == EX_NO)
			code = EX_FAILED;
	}
	return code;
}
