// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an operator can see: a folder per function, with the files "state" and
 * "buffers".
 *
 * Reading never waits for a transition: it shows who holds one up.
 */
#include <linux/debugfs.h>
#include <linux/scatterlist.h>
#include <linux/seq_file.h>

#include "dvp.h"
#include "names.h"

/*
 * A buffer may have tens of thousands, and a mapping as many segments. How many
 * importers and mappings there are is up to clients, and a revoke waits for the
 * lock that they are shown under.
 */
#define RANGES_SHOWN		16u
#define SEGMENTS_SHOWN		16u
#define ATTACHMENTS_SHOWN	64u
#define MAPPINGS_SHOWN		64u

static struct dentry *root;

static const struct {
	u32 value;
	const char *name;
} reason_names[] = { DVP_REASON_NAMES };

static const char *route_name(struct dvp_attachment *att)
{
	switch (att->route.kind) {
	case DMABUF_VFIO_ROUTE_BUS:
		return "bus";
	case DMABUF_VFIO_ROUTE_HOST:
		return dma_use_iova(&att->iova) ? "host-iova" : "host";
	default:
		return "none";
	}
}

static int state_show(struct seq_file *m, void *v)
{
	struct dvp_gate *gate = m->private;
	u32 reasons = READ_ONCE(gate->reasons);
	unsigned int i;

	seq_printf(m, "reachable: %s\nreasons:", reasons ? "no" : "yes");
	for (i = 0; i < ARRAY_SIZE(reason_names); i++)
		if (reasons & reason_names[i].value)
			seq_printf(m, " %s", reason_names[i].name);
	seq_printf(m, "\nbuffers: %u\nranges: %u\n",
		   READ_ONCE(gate->nr_bufs), READ_ONCE(gate->nr_ranges));
	seq_printf(m, "revokes: %lu\nrestores: %lu\n",
		   READ_ONCE(gate->nr_revokes), READ_ONCE(gate->nr_restores));
	seq_printf(m, "last revoke: %llu us\nlongest revoke: %llu us\n",
		   READ_ONCE(gate->last_revoke_us),
		   READ_ONCE(gate->max_revoke_us));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

/* A place in the list; the file is read in pieces. */
static void *buffers_start(struct seq_file *m, loff_t *pos)
{
	struct dvp_buffer *buf = dvp_gate_next_buffer(m->private, NULL);
	loff_t n;

	for (n = 0; buf && n < *pos; n++)
		buf = dvp_gate_next_buffer(m->private, buf);
	return buf;
}

static void *buffers_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return dvp_gate_next_buffer(m->private, v);
}

static void buffers_stop(struct seq_file *m, void *v)
{
	if (v)
		dvp_buffer_put(v);
}

static void show_attachment(struct seq_file *m, struct dvp_attachment *att)
{
	static const char * const refusals[] = {
		[DVP_REFUSED_READ_ONLY]		= "read-only",
		[DVP_REFUSED_UNTRANSLATED]	= "untranslated",
	};
	enum dvp_refusal refusal = READ_ONCE(att->refusal);

	seq_printf(m, "  attachment %s driver=%s route=%s distance=%d maps=%u cut=%u",
		   dev_name(att->dev), dev_driver_string(att->dev),
		   route_name(att), att->route.distance, att->nr_maps,
		   att->nr_cut);
	if (refusal)
		seq_printf(m, " refused=%s", refusals[refusal]);
	seq_putc(m, '\n');
}

/* What a client's device says on the bus for a mapping. */
static const char *addresses_name(struct dvp_attachment *att,
				  struct dvp_mapping *map)
{
	if (map->domain)
		return "io";
	return att->route.kind == DMABUF_VFIO_ROUTE_BUS ? "bus" : "physical";
}

static void show_mapping(struct seq_file *m, struct dvp_attachment *att,
			 struct dvp_mapping *map)
{
	static const char * const directions[] = {
		[DMA_BIDIRECTIONAL]	= "bidirectional",
		[DMA_TO_DEVICE]		= "to-device",
		[DMA_FROM_DEVICE]	= "from-device",
		[DMA_NONE]		= "none",
	};
	struct scatterlist *sg;
	unsigned int i;

	seq_printf(m, "  mapping %s addresses=%s direction=%s cut=%d segments=%u dma=",
		   dev_name(att->dev), addresses_name(att, map),
		   directions[map->dir], map->cut, map->sgt.nents);
	for_each_sg(map->sgt.sgl, sg, min(map->sgt.nents, SEGMENTS_SHOWN), i)
		seq_printf(m, "%s%#llx:%#x", i ? "," : "",
			   (u64)sg_dma_address(sg), sg_dma_len(sg));
	seq_puts(m, map->sgt.nents > SEGMENTS_SHOWN ? ",...\n" : "\n");
}

static void show_attachments(struct seq_file *m, struct dvp_buffer *buf)
{
	struct dvp_attachment *att;
	unsigned int n = 0;

	list_for_each_entry(att, &buf->atts, node) {
		if (n++ == ATTACHMENTS_SHOWN) {
			seq_puts(m, "  attachment ...\n");
			return;
		}
		show_attachment(m, att);
	}
}

static void show_mappings(struct seq_file *m, struct dvp_buffer *buf)
{
	struct dvp_attachment *att;
	struct dvp_mapping *map;
	unsigned int n = 0;

	list_for_each_entry(att, &buf->atts, node)
		list_for_each_entry(map, &att->maps, node) {
			if (n++ == MAPPINGS_SHOWN) {
				seq_puts(m, "  mapping ...\n");
				return;
			}
			show_mapping(m, att, map);
		}
}

/* Not under the reservation lock: a late importer may have that. */
static int buffers_show(struct seq_file *m, void *v)
{
	static const char * const states[] = {
		[DVP_USABLE]	= "usable",
		[DVP_REVOKED]	= "revoked",
		[DVP_DEAD]	= "dead",
	};
	struct dvp_buffer *buf = v;
	struct dvp_attachment *att;
	unsigned int atts = 0, maps = 0;
	char job[32];
	u32 i;

	down_read(&buf->lock);
	list_for_each_entry(att, &buf->atts, node) {
		atts++;
		maps += att->nr_maps;
	}
	seq_printf(m, "%s ino=%lu bar=%u size=%llu ranges=%u memory=%s state=%s attachments=%u maps=%u cpu-maps=%d\n",
		   buf->layout.own ? "bar" : "buffer",
		   (unsigned long)buf->inode->i_ino,
		   buf->layout.bar, buf->layout.size, buf->layout.nr_ranges,
		   buf->layout.write_combining ? "wc" : "uncached",
		   states[buf->state], atts, maps, atomic_read(&buf->cpu_maps));
	for (i = 0; i < min(buf->layout.nr_ranges, RANGES_SHOWN); i++)
		seq_printf(m, "  range offset=%#llx length=%#llx\n",
			   buf->layout.ranges[i].offset,
			   dvp_layout_length(&buf->layout, i));
	if (i < buf->layout.nr_ranges)
		seq_puts(m, "  range ...\n");
	show_attachments(m, buf);
	show_mappings(m, buf);
	if (dvp_buffer_job(buf, job, sizeof(job)))
		seq_printf(m, "  job driver=%s\n", job);
	up_read(&buf->lock);
	return 0;
}

static const struct seq_operations buffers_sops = {
	.start	= buffers_start,
	.next	= buffers_next,
	.stop	= buffers_stop,
	.show	= buffers_show,
};
DEFINE_SEQ_ATTRIBUTE(buffers);

void dvp_debugfs_add(struct dvp_device *dvp)
{
	dvp->debugfs = debugfs_create_dir(pci_name(dvp->core.pdev), root);
	debugfs_create_file("state", 0400, dvp->debugfs, &dvp->gate,
			    &state_fops);
	debugfs_create_file("buffers", 0400, dvp->debugfs, &dvp->gate,
			    &buffers_fops);
}

void dvp_debugfs_del(struct dvp_device *dvp)
{
	debugfs_remove(dvp->debugfs);
}

void dvp_debugfs_init(void)
{
	root = debugfs_create_dir(DVP_NAME, NULL);
}

void dvp_debugfs_exit(void)
{
	debugfs_remove(root);
}
