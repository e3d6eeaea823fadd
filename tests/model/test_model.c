#include "tests/model/folder.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "model/model.h"
#include "model/safetensors.h"
#include "tests/run.h"

static struct model_config config;
static struct model model;

static void setup(void)
{
    folder_setup();
    config = small_config();
}

static void teardown(void)
{
    model_clear(&model);
    folder_teardown();
}

static void make(bool with_head)
{
    ck_assert_works(model_allocate(&model, &config, with_head));
    small_fill(&model);
}

static void assert_equal(struct model *a, struct model *b)
{
    struct model_tensor *x, *y;
    size_t n, m;
    ck_assert_works(model_tensors(&x, &n, a, a->pooler_w != NULL, a->head_w != NULL));
    ck_assert_works(model_tensors(&y, &m, b, b->pooler_w != NULL, b->head_w != NULL));
    ck_assert_uint_eq(n, m);
    for (size_t i = 0; i < n; i++) {
        ck_assert_str_eq(x[i].name, y[i].name);
        ck_assert_mem_eq(*x[i].data, *y[i].data, model_tensor_elements(&x[i]) * sizeof(float));
    }
    free(x);
    free(y);
}

static void demo_path(char out[FILES_PATH_BYTES])
{
    ck_assert_ptr_nonnull(getenv("TREFOIL_SOURCE"));
    ck_assert_works(files_join(out, getenv("TREFOIL_SOURCE"), "models/sst2-tiny"));
}

START_TEST(the_demo_model_reads_as_its_readme_says)
{
    char path[FILES_PATH_BYTES];
    demo_path(path);
    ck_assert_works(model_read(&model, path));
    ck_assert_uint_eq(model.config.layers, 2);
    ck_assert_uint_eq(model.config.hidden, 128);
    ck_assert_uint_eq(model.config.vocabulary, 30522);
    ck_assert_int_eq(model.config.activation, MODEL_QUAD);
    ck_assert_int_eq(model.config.attention, MODEL_2QUAD);
    ck_assert_str_eq(model.config.label[1], "positive");
    ck_assert(model.config.lower_case);
    ck_assert_ptr_nonnull(model.head_w);
    ck_assert_uint_eq((uintptr_t)model.layer[1].ffn1_w % 64, 0);
}
END_TEST

START_TEST(what_is_written_is_read_back_bit_by_bit)
{
    for (int variant = 0; variant < 8; variant++) {
        struct model back;
        config = small_config();
        config.attention = MODEL_2QUAD;
        config.activation = MODEL_QUAD;
        config.learned_c = config.learned_quad = (variant & 1) != 0;
        config.softmax_c = 4.7f;
        config.lower_case = (variant & 2) != 0;
        config.accents_differ = (variant & 4) != 0;
        config.ideographs_joined = (variant & 1) != 0;
        snprintf(config.label[2], MODEL_LABEL_BYTES, "não \"sei\"");
        make((variant & 2) != 0);
        ck_assert_works(model_write(&model, folder, variant & 4 ? MODEL_F16 : MODEL_F32, NULL));
        ck_assert_works(model_read(&back, folder));
        ck_assert_mem_eq(&model.config.label, &back.config.label, sizeof config.label);
        ck_assert(back.config.softmax_c == 4.7f && back.config.layer_norm_eps == 1e-12f);
        ck_assert(back.config.learned_c == config.learned_c && back.config.lower_case == config.lower_case);
        ck_assert(back.config.accents_differ == config.accents_differ &&
                  back.config.ideographs_joined == config.ideographs_joined);
        ck_assert_ptr_eq(back.pooler_w ? back.head_w : NULL, back.head_w);
        ck_assert_int_eq(back.head_w != NULL, (variant & 2) != 0);
        ck_assert_int_eq(back.layer[1].quad != NULL, variant & 1);
        assert_equal(&model, &back);
        model_clear(&back);
        model_clear(&model);
    }
}
END_TEST

START_TEST(a_cleared_model_can_be_cleared_again)
{
    make(true);
    model_clear(&model);
    model_clear(&model);
    ck_assert_ptr_null(model.memory);
}
END_TEST

START_TEST(allocation_refuses_a_shape_that_makes_no_sense)
{
    config.heads = 3;
    ck_assert_fails(model_allocate(&model, &config, true), STATUS_INPUT, "hidden_size",
                    "num_attention_heads");
    config = small_config();
    config.labels = 65;
    ck_assert_fails(model_allocate(&model, &config, true), STATUS_INPUT, "num_labels", "65");
}
END_TEST

/* Writes one tensor file from a list in which one thing is off. */
static void write_items(struct safetensors_item *item, size_t count)
{
    struct files_new file;
    ck_assert_works(files_new_open(&file, folder_path("model.safetensors")));
    ck_assert_works(safetensors_write(&file, item, count, MODEL_F32));
    ck_assert_works(files_new_sync(&file));
    ck_assert_works(files_new_rename(&file));
}

/* All tensors of the model, from an index on under changed names. */
static size_t list_items(struct safetensors_item *item, struct model_tensor *tensor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        item[i] =
            (struct safetensors_item){tensor[i].name, tensor[i].rows, tensor[i].columns, *tensor[i].data};
    return count;
}

START_TEST(every_missing_tensor_is_named)
{
    struct model back;
    struct model_tensor *tensor;
    struct safetensors_item item[64];
    size_t count;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    ck_assert_works(model_tensors(&tensor, &count, &model, true, true));
    for (size_t i = 0; i < count; i++) {
        list_items(item, tensor, count);
        item[i].name = "something.else";
        write_items(item, count);
        if (strcmp(tensor[i].name, "classifier.weight") == 0) {
            ck_assert_works(model_read(&back, folder));
            ck_assert_ptr_null(back.head_w);
            model_clear(&back);
            continue;
        }
        ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "model.safetensors", tensor[i].name,
                        "missing");
        ck_assert_ptr_null(back.memory);
    }
    free(tensor);
}
END_TEST

START_TEST(every_wrong_shape_is_named)
{
    struct model back;
    struct model_tensor *tensor;
    struct safetensors_item item[64];
    size_t count;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    ck_assert_works(model_tensors(&tensor, &count, &model, true, true));
    for (size_t i = 0; i < count; i++) {
        list_items(item, tensor, count);
        item[i].rows -= 1;
        write_items(item, count);
        ck_assert_fails(model_read(&back, folder), STATUS_INPUT, tensor[i].name, "shape",
                        "config.json asks for");
        list_items(item, tensor, count);
        item[i].columns = item[i].columns ? 0 : 1; /* as many elements or fewer, another rank */
        write_items(item, count);
        ck_assert_fails(model_read(&back, folder), STATUS_INPUT, tensor[i].name, "shape");
    }
    free(tensor);
}
END_TEST

START_TEST(old_layer_norm_names_and_extra_tensors_are_read)
{
    struct model back;
    struct model_tensor *tensor;
    struct safetensors_item item[64];
    static char name[64][MODEL_TENSOR_NAME_BYTES + 8];
    float extra[4] = {1, 2, 3, 4};
    size_t count;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    ck_assert_works(model_tensors(&tensor, &count, &model, true, true));
    for (int bare = 0; bare < 2; bare++) {
        list_items(item, tensor, count);
        for (size_t i = 0; i < count; i++) {
            const char *prefix = strncmp(tensor[i].name, "bert.", 5) == 0 ? "bert." : "";
            const char *from = tensor[i].name + strlen(prefix), *norm = strstr(from, "LayerNorm.");
            if (norm)
                snprintf(name[i], sizeof name[i], "%s%.*s%s", bare ? "" : prefix, (int)(norm - from) + 10,
                         from, norm[10] == 'w' ? "gamma" : "beta");
            else
                snprintf(name[i], sizeof name[i], "%s%s", bare ? "" : prefix, from);
            item[i].name = name[i];
        }
        item[count] = (struct safetensors_item){"cls.predictions.bias", 4, 0, extra};
        item[count + 1] = (struct safetensors_item){"bert.embeddings.position_ids", 1, 4, extra};
        write_items(item, count + 2);
        ck_assert_works(model_read(&back, folder));
        assert_equal(&model, &back);
        model_clear(&back);
    }
    free(tensor);
}
END_TEST

START_TEST(weights_that_config_does_not_mention_are_refused)
{
    struct model back;
    config.attention = MODEL_2QUAD;
    config.activation = MODEL_QUAD;
    config.learned_c = true;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    config.learned_c = false;
    char *text = model_config_format(&config, true, MODEL_F32);
    folder_write_text("config.json", text);
    free(text);
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "softmax_2quad_learned");
    config.learned_c = true;
    config.layers = 1;
    text = model_config_format(&config, true, MODEL_F32);
    folder_write_text("config.json", text);
    free(text);
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "more layers than the 1");
}
END_TEST

START_TEST(missing_files_are_named_with_what_to_do)
{
    struct model back;
    ck_assert_fails(model_read(&back, "/nowhere/at/all"), STATUS_INPUT, "/nowhere/at/all/config.json",
                    "no such file");
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    unlink(folder_path("model.safetensors"));
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "model.safetensors", "no such file");
    folder_write_text("pytorch_model.bin", "");
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "pytorch_model.bin", "model.safetensors");
    folder_write_text("model.safetensors.index.json", "{}");
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "index.json", "split");
}
END_TEST

START_TEST(a_failed_write_leaves_the_old_folder_good)
{
    struct model back;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F16, NULL));
    model.layer[1].ffn2_w[3] = 65520;
    ck_assert_fails(model_write(&model, folder, MODEL_F16, NULL), STATUS_RANGE, "layer.1.output.dense.weight",
                    "F16");
    model.layer[1].ffn2_w[3] = NAN;
    ck_assert_fails(model_write(&model, folder, MODEL_F32, NULL), STATUS_RANGE,
                    "layer.1.output.dense.weight");
    ck_assert_fails(model_write(&model, folder, MODEL_F32, "/nowhere/vocab.txt"), STATUS_RANGE, "dense");
    model.layer[1].ffn2_w[3] = 0;
    ck_assert_fails(model_write(&model, folder, MODEL_F32, "/nowhere/vocab.txt"), STATUS_INPUT,
                    "/nowhere/vocab.txt");
    ck_assert_works(model_read(&back, folder));
    small_fill(&model);
    assert_equal(&model, &back);
    model_clear(&back);
    ck_assert(!files_exist(folder_path("model.safetensors.tmp")));
    ck_assert(!files_exist(folder_path("config.json.tmp")));
}
END_TEST

START_TEST(a_full_disk_leaves_the_old_folder_good)
{
    struct model back;
    struct rlimit before;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F16, NULL));
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t bytes = 0; bytes <= 8192; bytes += 512) {
        const struct rlimit little = {bytes, before.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
        enum status status = model_write(&model, folder, MODEL_F32, NULL);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        ck_assert_fails(status, STATUS_FULL, "model.safetensors", "make room");
        ck_assert_works(model_read(&back, folder));
        assert_equal(&model, &back);
        model_clear(&back);
        ck_assert(!files_exist(folder_path("model.safetensors.tmp")));
    }
}
END_TEST

START_TEST(the_vocabulary_is_copied_onto_itself_too)
{
    char *text;
    size_t size;
    make(true);
    folder_write_text("vocab.txt", "[PAD]\n[UNK]\n");
    char path[FILES_PATH_BYTES];
    snprintf(path, sizeof path, "%s", folder_path("vocab.txt"));
    ck_assert_works(model_write(&model, folder, MODEL_F32, path));
    ck_assert_works(files_read(&text, &size, path, 100));
    ck_assert_str_eq(text, "[PAD]\n[UNK]\n");
    free(text);
}
END_TEST

START_TEST(a_value_that_is_not_finite_is_refused)
{
    struct model back;
    make(true);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    FILE *file = fopen(folder_path("model.safetensors"), "r+b");
    const unsigned char infinity[4] = {0, 0, 0x80, 0x7f};
    fseek(file, -4, SEEK_END);
    fwrite(infinity, 1, 4, file);
    fclose(file);
    ck_assert_fails(model_read(&back, folder), STATUS_INPUT, "classifier.bias", "infinite");
}
END_TEST

static mode_t mode_of(const char *name)
{
    struct stat about;
    ck_assert_int_eq(stat(folder_path(name), &about), 0);
    return about.st_mode & 0777;
}

START_TEST(weights_are_for_their_owner_alone_and_the_rest_as_the_umask_says)
{
    make(true);
    const mode_t before = umask(0027);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    ck_assert_uint_eq(mode_of("model.safetensors"), 0600);
    ck_assert_uint_eq(mode_of("config.json"), 0640);
    /* Written over one that others may read. */
    ck_assert_int_eq(chmod(folder_path("model.safetensors"), 0644), 0);
    ck_assert_works(model_write(&model, folder, MODEL_F32, NULL));
    ck_assert_uint_eq(mode_of("model.safetensors"), 0600);
    umask(before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("folder");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_demo_model_reads_as_its_readme_says);
    tcase_add_test(tcase, what_is_written_is_read_back_bit_by_bit);
    tcase_add_test(tcase, a_cleared_model_can_be_cleared_again);
    tcase_add_test(tcase, allocation_refuses_a_shape_that_makes_no_sense);
    tcase_add_test(tcase, every_missing_tensor_is_named);
    tcase_add_test(tcase, every_wrong_shape_is_named);
    tcase_add_test(tcase, old_layer_norm_names_and_extra_tensors_are_read);
    tcase_add_test(tcase, weights_that_config_does_not_mention_are_refused);
    tcase_add_test(tcase, missing_files_are_named_with_what_to_do);
    tcase_add_test(tcase, a_failed_write_leaves_the_old_folder_good);
    tcase_add_test(tcase, a_full_disk_leaves_the_old_folder_good);
    tcase_add_test(tcase, the_vocabulary_is_copied_onto_itself_too);
    tcase_add_test(tcase, a_value_that_is_not_finite_is_refused);
    tcase_add_test(tcase, weights_are_for_their_owner_alone_and_the_rest_as_the_umask_says);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
