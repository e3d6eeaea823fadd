/* The commands of this folder, for the trefoil program. */
#ifndef TREFOIL_DISTILL_COMMAND_H
#define TREFOIL_DISTILL_COMMAND_H

/* argv[0] is the command's name. Each returns the exit status. */
int command_finetune(int argc, char **argv);
int command_distill(int argc, char **argv);

#endif
