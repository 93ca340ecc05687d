/*
 * The image's entry point, `monlat`: lets the agent hold its capabilities without being root.
 *
 * Kubernetes gives the capabilities that a pod asks for to root alone; another user gains them only by the
 * capabilities of the file that is executed. This is that file (the Dockerfile marks it). Python is not it: every
 * process that ran the interpreter would gain them, again even after it had dropped them. So the starter makes the
 * capabilities ambient, which a program inherits and can drop for good, forbids the kernel to grant this process or a
 * child anything more, and becomes the real command. One that the container was not given is left out; the agent
 * then says which is missing.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMMAND "/opt/monlat/bin/monlat"

static const int wanted[] = {CAP_NET_RAW, CAP_PERFMON, CAP_BPF};

static int fail(const char *what)
{
	fprintf(stderr, "monlat: the image's starter could not %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	size_t i;

	(void)argc;
	if (syscall(SYS_capget, &header, data))
		return fail("read its capabilities");
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		int word = CAP_TO_INDEX(wanted[i]);

		data[word].inheritable |= data[word].permitted & CAP_TO_MASK(wanted[i]);
	}
	if (syscall(SYS_capset, &header, data))
		return fail("make its capabilities inheritable");
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (!(data[CAP_TO_INDEX(wanted[i])].permitted & CAP_TO_MASK(wanted[i])))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, wanted[i], 0, 0))
			return fail("make a capability ambient");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail("forbid further privileges");
	execv(COMMAND, argv);
	return fail("run " COMMAND);
}
