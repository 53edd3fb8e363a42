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

#ifndef DVP_VERSION
#define DVP_VERSION	"unknown"
#endif

struct options opts;

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
	int (*run)(int argc, char **argv);
	int min, max;		/* arguments; max -1: any number */
	unsigned int opts;
	const char *args;
	const char *summary;
	const char *help;
} commands[] = {
	{ "bind", cmd_bind, 0, -1, OPT_JSON | OPT_FORCE | OPT_CONFIG,
	  "ADDRESS... | --config[=DIR]", "take functions from their drivers",
	  "Gives functions to " DRIVER " and remembers what they had. A function\n"
	  "that is in use (a mounted disk, an interface that is up, the console,\n"
	  "open through VFIO) is refused.\n" },
	{ "unbind", cmd_unbind, 0, -1, OPT_JSON | OPT_FORCE | OPT_CONFIG,
	  "ADDRESS... | --config[=DIR]", "give them back",
	  "Gives functions back to the driver they had. A function that a program\n"
	  "has open is refused.\n" },
	{ "status", cmd_status, 0, -1, OPT_JSON | OPT_ALL, "[ADDRESS...]",
	  "functions, their state, buffers and importers",
	  "Without an address: all functions bound to " DRIVER ".\n" },
	{ "events", cmd_events, 1, 1, OPT_JSON | OPT_COUNT, "ADDRESS",
	  "what happens to a function, as it happens",
	  "A line an event: number, seconds since boot, what, why. Ends when the\n"
	  "function is unbound.\n" },
	{ "export", cmd_export, 2, -1,
	  OPT_WC | OPT_RO | OPT_TRANSLATED,
	  "ADDRESS BAR [OFFSET:LENGTH...] -- COMMAND [ARG...]",
	  "run a command with slices of a BAR as a dma-buf",
	  "COMMAND finds the number of the open file descriptor in the environment\n"
	  "variable DMABUF_VFIO_FD. Without a slice it is the whole BAR. K, M, G and\n"
	  "T are understood. The exit code is that of COMMAND.\n" },
	{ "revoke", cmd_revoke, 2, 2, 0, "ADDRESS BUFFER",
	  "take a buffer back for good",
	  "BUFFER is ino:NUMBER (status shows it), PID:FD, or FD, one that the\n"
	  "command has inherited.\n" },
	{ "route", cmd_route, 2, 2, OPT_JSON, "PROVIDER CLIENT",
	  "how CLIENT reaches the memory of PROVIDER",
	  "The exit code is 6 if it does not.\n" },
	{ "topo", cmd_topo, 0, -1, OPT_JSON, "[ADDRESS...]",
	  "the routes between all functions",
	  "A matrix, and a legend that says why. Without an address: all functions\n"
	  "but bridges.\n" },
	{ "doctor", cmd_doctor, 0, 2, OPT_JSON, "[ADDRESS [CLIENT]]",
	  "what stands in the way, and the remedy",
	  "The machine, and the function named, or all bound ones; with CLIENT also\n"
	  "what that function gets of its memory. The exit code is 6 if there is a\n"
	  "fault.\n" },
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
	  "take it although it is in use" },
	{ OPT_ALL, { "all", no_argument, NULL, 0 },
	  "all functions of the machine, a line each" },
	{ OPT_CONFIG, { "config", optional_argument, NULL, 0 },
	  "those of /etc/dmabuf-vfio.d/*.conf, or DIR" },
	{ OPT_COUNT, { "count", required_argument, NULL, 0 },
	  "end after so many events" },
	{ OPT_WC, { "write-combining", no_argument, NULL, 0 },
	  "CPUs map it write-combining" },
	{ OPT_RO, { "read-only", no_argument, NULL, 0 },
	  "CPUs and devices may read it, and not write" },
	{ OPT_TRANSLATED, { "translated", no_argument, NULL, 0 },
	  "only for devices that an IOMMU can cut off" },
};

int fail(int code, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, COMMAND ": ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* The exit code for a negative errno. */
int code_of(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return EX_DENIED;
	case -ENOENT:
		return EX_NOT_FOUND;
	default:
		return EX_FAILED;
	}
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

static int usage(const struct command *c)
{
	size_t i;

	if (c) {
		printf("Usage: " COMMAND " %s [OPTION...] %s\n\n%s", c->name,
		       c->args, c->help);
		print_options(c->opts | OPT_HELP);
		return 0;
	}
	printf("Usage: " COMMAND " COMMAND [OPTION...] [ARGUMENT...]\n\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].summary);
	printf("\nAn ADDRESS is that of a PCI function, 0000:01:00.0 or 01:00.0.\n"
	       COMMAND " COMMAND --help says more, and so does " COMMAND "(8).\n");
	print_options(OPT_HELP | OPT_VERSION);
	printf("\nExit codes: 0 done, 1 failed, 2 misuse, 3 refused, 4 not found,\n"
	       "5 not permitted, 6 the answer is no.\n");
	return 0;
}

static int set_count(const char *text)
{
	char *end;

	errno = 0;
	opts.count = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || !opts.count)
		return fail(EX_WRONG_USAGE, "--count takes a number from 1");
	return 0;
}

static int set_option(unsigned int bit)
{
	switch (bit) {
	case OPT_JSON:
		opts.json = true;
		break;
	case OPT_FORCE:
		opts.force = true;
		break;
	case OPT_ALL:
		opts.all = true;
		break;
	case OPT_CONFIG:
		opts.config = true;
		opts.config_dir = optarg;
		break;
	case OPT_COUNT:
		return set_count(optarg);
	case OPT_WC:
		opts.write_combining = true;
		break;
	case OPT_RO:
		opts.read_only = true;
		break;
	case OPT_TRANSLATED:
		opts.translated = true;
		break;
	}
	return 0;
}

/* -1: go on; otherwise an exit code. */
static int parse(const struct command *c, int argc, char **argv)
{
	struct option longs[ARRAY_SIZE(options) + 1] = {};
	unsigned int bits[ARRAY_SIZE(options)];
	int nr = 0, which, ret, code;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(options); i++) {
		if (!(options[i].bit & (c->opts | OPT_HELP)))
			continue;
		longs[nr] = options[i].opt;
		bits[nr++] = options[i].bit;
	}
	opterr = 0;
	optind = 1;
	while ((ret = getopt_long(argc, argv, "h", longs, &which)) >= 0) {
		if (ret == 'h' || (!ret && bits[which] == OPT_HELP))
			return usage(c);
		if (ret)
			return fail(EX_WRONG_USAGE, "%s: option '%s' is not known, or its argument is missing: see --help",
				    c->name, argv[optind - 1]);
		code = set_option(bits[which]);
		if (code)
			return code;
	}
	return -1;
}

static int run(const struct command *c, int argc, char **argv)
{
	int i, code;

	/* What stands behind "--" is another command's. */
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--") && c->run == cmd_export) {
			argv[i] = NULL;
			opts.command = argv + i + 1;
			argc = i;
		}
	}
	code = parse(c, argc, argv);
	if (code >= 0)
		return code;
	argc -= optind;
	argv += optind;
	if (argc < c->min || (c->max >= 0 && argc > c->max))
		return fail(EX_WRONG_USAGE, "usage: " COMMAND " %s %s", c->name,
			    c->args);
	return c->run(argc, argv);
}

int main(int argc, char **argv)
{
	size_t i;
	int code;

	if (argc < 2) {
		usage(NULL);
		return EX_WRONG_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(NULL);
	if (!strcmp(argv[1], "--version")) {
		printf(COMMAND " " DVP_VERSION "\n");
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		code = run(&commands[i], argc - 1, argv + 1);
		if (fflush(stdout) || ferror(stdout))
			return code ?: fail(EX_FAILED, "cannot write: %s",
					    strerror(errno));
		return code;
	}
	return fail(EX_WRONG_USAGE, "there is no command '%s': see --help",
		    argv[1]);
}
