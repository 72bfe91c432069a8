// What zctrace is measured against: the least that a program at the exit of system calls can cost, and the least
// that one can cost which counts bytes. Compiled by `cargo xtask bench` with clang; loaded by aya.
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 PID = 0;

// The call's number, at the place that the running kernel's BTF says.
struct pt_regs {
#ifdef ARM64
	int syscallno;
#else
	unsigned long orig_ax;
#endif
} __attribute__((preserve_access_index));

#ifdef ARM64
#define NUMBER(regs) ((regs)->syscallno)
#else
#define NUMBER(regs) ((regs)->orig_ax)
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} BYTES SEC(".maps");

// The floor: what every system call of the host pays as soon as anything is attached.
SEC("raw_tp/sys_exit")
int empty(void *ctx)
{
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, __u64);
} BYTES_BY_KEY SEC(".maps");

static __always_inline int add(__u32 number, long result)
{
	__u64 *bytes = bpf_map_lookup_elem(&BYTES, &number);

	if (bytes)
		*bytes += result;
	return 0;
}

// The barest counter: one process, returned bytes by call number. No endpoints, no files, no listeners.
SEC("tp_btf/sys_exit")
int bare(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	long result = (long)ctx[1];

	if (bpf_get_current_pid_tgid() >> 32 != PID || result <= 0)
		return 0;
	return add(NUMBER(regs), result);
}

// The same with the map that most tools take, libbpf-tools' syscount among them: one entry for each number that was seen.
SEC("tp_btf/sys_exit")
int bare_hash(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	long result = (long)ctx[1];
	__u32 number;
	__u64 *bytes, none = 0;

	if (bpf_get_current_pid_tgid() >> 32 != PID || result <= 0)
		return 0;
	number = NUMBER(regs);
	bytes = bpf_map_lookup_elem(&BYTES_BY_KEY, &number);
	if (!bytes) {
		bpf_map_update_elem(&BYTES_BY_KEY, &number, &none, BPF_NOEXIST);
		bytes = bpf_map_lookup_elem(&BYTES_BY_KEY, &number);
		if (!bytes)
			return 0;
	}
	__sync_fetch_and_add(bytes, result);
	return 0;
}

// The same as older programs write it, with a helper that reads the registers.
SEC("raw_tp/sys_exit")
int bare_untyped(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx->args[0];
	long result = (long)ctx->args[1];
	__typeof__(NUMBER(regs)) number;

	if (bpf_get_current_pid_tgid() >> 32 != PID || result <= 0)
		return 0;
	if (bpf_probe_read_kernel(&number, sizeof(number), (void *)__builtin_preserve_access_index(&NUMBER(regs))))
		return 0;
	return add(number, result);
}
