/* The only program of an image that has nothing else: it waits to be ended. */
#include <signal.h>
#include <unistd.h>

static void leave(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    signal(SIGTERM, leave);
    for (;;) pause();
}
