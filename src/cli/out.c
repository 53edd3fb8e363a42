// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a command prints: a tree of values, as JSON or as text.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum kind { NUL, BOOL, NUM, SIZE, STR, ARRAY, OBJECT };

struct val {
	enum kind kind;
	long long num;		/* BOOL, NUM, SIZE */
	char *str;		/* STR */
	char **keys;		/* OBJECT */
	struct val **vals;	/* ARRAY, OBJECT */
	unsigned int nr;
};

static struct val *val_new(enum kind kind, long long num)
{
	struct val *v = need_memory(calloc(1, sizeof(*v)));

	v->kind = kind;
	v->num = num;
	return v;
}

struct val *val_object(void)
{
	return val_new(OBJECT, 0);
}

struct val *val_array(void)
{
	return val_new(ARRAY, 0);
}

struct val *val_num(long long num)
{
	return val_new(NUM, num);
}

/* Bytes: text shows them with a unit. */
struct val *val_size(u64 num)
{
	return val_new(SIZE, num);
}

struct val *val_bool(bool yes)
{
	return val_new(BOOL, yes);
}

struct val *val_null(void)
{
	return val_new(NUL, 0);
}

struct val *val_str(const char *fmt, ...)
{
	struct val *v = val_new(STR, 0);
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&v->str, fmt, ap) < 0)
		v->str = NULL;
	va_end(ap);
	need_memory(v->str);
	return v;
}

/* Returns @v, so that a tree can be built from the top down. */
struct val *val_add(struct val *array, struct val *v)
{
	size_t size = (array->nr + 1) * sizeof(*array->vals);

	array->vals = need_memory(realloc(array->vals, size));
	array->vals[array->nr++] = v;
	return v;
}

struct val *val_set(struct val *object, const char *key, struct val *v)
{
	size_t size = (object->nr + 1) * sizeof(*object->keys);

	object->keys = need_memory(realloc(object->keys, size));
	object->keys[object->nr] = need_memory(strdup(key));
	return val_add(object, v);
}

unsigned int val_count(const struct val *v)
{
	return v->nr;
}

const struct val *val_nth(const struct val *v, unsigned int n)
{
	return v->vals[n];
}

/* The object must have the key. */
const struct val *val_get(const struct val *object, const char *key)
{
	unsigned int i;

	for (i = 0; i < object->nr; i++)
		if (!strcmp(object->keys[i], key))
			return object->vals[i];
	abort();
}

const char *val_text(const struct val *v)
{
	return v->str;
}

void val_free(struct val *v)
{
	unsigned int i;

	for (i = 0; i < v->nr; i++) {
		val_free(v->vals[i]);
		if (v->keys)
			free(v->keys[i]);
	}
	free(v->vals);
	free(v->keys);
	free(v->str);
	free(v);
}

/* --- JSON */

static void print_json_str(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void print_json(const struct val *v)
{
	unsigned int i;

	switch (v->kind) {
	case NUL:
		fputs("null", stdout);
		break;
	case BOOL:
		fputs(v->num ? "true" : "false", stdout);
		break;
	case NUM:
		printf("%lld", v->num);
		break;
	case SIZE:
		printf("%llu", (unsigned long long)v->num);
		break;
	case STR:
		print_json_str(v->str);
		break;
	case ARRAY:
	case OBJECT:
		putchar(v->kind == ARRAY ? '[' : '{');
		for (i = 0; i < v->nr; i++) {
			if (i)
				putchar(',');
			if (v->keys) {
				print_json_str(v->keys[i]);
				putchar(':');
			}
			print_json(v->vals[i]);
		}
		putchar(v->kind == ARRAY ? ']' : '}');
		break;
	}
}

/* --- text */

static bool is_flat(const struct val *v)
{
	unsigned int i;

	if (v->kind == OBJECT)
		return false;
	for (i = 0; i < v->nr; i++)
		if (v->vals[i]->nr || v->vals[i]->kind >= ARRAY)
			return false;
	return true;
}

/* An array of objects with the same number of flat members is a table. */
static bool is_table(const struct val *v)
{
	unsigned int i, k;

	if (v->kind != ARRAY || !v->nr)
		return false;
	for (i = 0; i < v->nr; i++) {
		const struct val *row = v->vals[i];

		if (row->kind != OBJECT || row->nr != v->vals[0]->nr)
			return false;
		for (k = 0; k < row->nr; k++)
			if (!is_flat(row->vals[k]))
				return false;
	}
	return true;
}

static void size_text(u64 size, char *buf, size_t len)
{
	static const char units[] = " KMGTPE";
	unsigned int u = 0;

	while (size && size % 1024 == 0 && units[u + 1]) {
		size /= 1024;
		u++;
	}
	if (u)
		snprintf(buf, len, "%llu%c", (unsigned long long)size,
			 units[u]);
	else
		snprintf(buf, len, "%llu", (unsigned long long)size);
}

static void flat_text(const struct val *v, char *buf, size_t len)
{
	unsigned int i;
	size_t used;

	switch (v->kind) {
	case BOOL:
		snprintf(buf, len, "%s", v->num ? "yes" : "no");
		break;
	case NUM:
		snprintf(buf, len, "%lld", v->num);
		break;
	case SIZE:
		size_text(v->num, buf, len);
		break;
	case STR:
		snprintf(buf, len, "%s", *v->str ? v->str : "-");
		break;
	default:
		snprintf(buf, len, v->nr ? "%s" : "-", "");
		for (i = 0; i < v->nr; i++) {
			used = strlen(buf);
			if (i && used < len)
				used += snprintf(buf + used, len - used, " ");
			if (used < len)
				flat_text(v->vals[i], buf + used, len - used);
		}
	}
}

static void print_table(const struct val *v, int indent)
{
	const struct val *first = v->vals[0];
	unsigned int r, c;
	int *width;
	char buf[4096];

	width = need_memory(calloc(first->nr, sizeof(*width)));
	for (c = 0; c < first->nr; c++) {
		width[c] = strlen(first->keys[c]);
		for (r = 0; r < v->nr; r++) {
			flat_text(v->vals[r]->vals[c], buf, sizeof(buf));
			if ((int)strlen(buf) > width[c])
				width[c] = strlen(buf);
		}
	}
	printf("%*s", indent, "");
	for (c = 0; c < first->nr; c++)
		printf("%-*s%s", c + 1 < first->nr ? width[c] : 0,
		       first->keys[c], c + 1 < first->nr ? "  " : "\n");
	for (r = 0; r < v->nr; r++) {
		printf("%*s", indent, "");
		for (c = 0; c < first->nr; c++) {
			flat_text(v->vals[r]->vals[c], buf, sizeof(buf));
			printf("%-*s%s", c + 1 < first->nr ? width[c] : 0, buf,
			       c + 1 < first->nr ? "  " : "\n");
		}
	}
	free(width);
}

static void print_text(const struct val *v, int indent)
{
	char buf[4096];
	unsigned int i;

	if (is_table(v)) {
		print_table(v, indent);
		return;
	}
	for (i = 0; i < v->nr; i++) {
		const struct val *sub = v->vals[i];

		if (is_flat(sub)) {
			flat_text(sub, buf, sizeof(buf));
			printf("%*s%s%s%s\n", indent, "",
			       v->keys ? v->keys[i] : "", v->keys ? ": " : "",
			       buf);
			continue;
		}
		if (v->keys)
			printf("%*s%s:\n", indent, "", v->keys[i]);
		else if (i)
			putchar('\n');
		print_text(sub, v->keys ? indent + 2 : indent);
	}
}

void out_text(const struct val *v)
{
	print_text(v, 0);
}

/*
 * Prints and frees @v. @writer NULL: out_text(); @ctx is for @writer. JSON says
 * in which form its data is: see JSON_FORMAT.
 */
void out_print(const struct options *opts, struct val *v,
	       void (*writer)(const struct val *v, const void *ctx),
	       const void *ctx)
{
	if (opts->json) {
		printf("{\"format\":%d,\"command\":\"%s\",\"data\":",
		       JSON_FORMAT, opts->name);
		print_json(v);
		printf("}\n");
	} else if (writer) {
		writer(v, ctx);
	} else {
		out_text(v);
	}
	fflush(stdout);
	val_free(v);
}
