"""A small world of real countries, in English and in Chinese.

Facts from public tables, sentences of our own: texts to pretrain on (`articles`), conversations for fine-tuning
(`lessons`), countries that do not exist (`names`), and a scorer that knows the right answers (`gold`).
"""
